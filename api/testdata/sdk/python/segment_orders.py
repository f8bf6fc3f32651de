"""segment-analytics-python: ORDERS orders of 12.5 each, half of them in gzip; run.py reads from the store what has arrived."""
import logging, os

import segment.analytics.request as request
from segment.analytics.client import Client

from world import BASE, CLIENT_KEY, Tally

logging.getLogger("segment").setLevel(logging.CRITICAL)
answers, errors, tally, orders = [], [], Tally(), int(os.environ["ORDERS"])
plain = request._session.post


def post(*args, **kwargs):
    r = plain(*args, **kwargs)
    answers.append(r.status_code)
    return r


request._session.post = post  # looks on
for zipped in (False, True):
    client = Client(CLIENT_KEY, host=BASE, gzip=zipped, max_retries=0, on_error=lambda e, items: errors.append(e))
    for i in range(orders // 2 * zipped, orders if zipped else orders // 2):
        client.track(user_id=f"segment-python-{i % 7}", event="Order Completed",
                     properties={"order_id": f"python-{i}", "revenue": 12.5, "currency": "CNY", "products": [{"product_id": "p", "name": "红茶"}]})
    client.flush()
    client.shutdown()
tally.check("every batch is answered 200", len(answers) > 1 and set(answers) == {200}, answers)
tally.check("no batch was dropped", not errors, errors[:2])
answers.clear()
client = Client("wrong", host=BASE, max_retries=0, on_error=lambda e, items: None)
client.track(user_id="u", event="Stranger")
client.flush()
client.shutdown()
tally.check("a wrong key", answers and answers[0] in (401, 403), answers)
tally.finish()
