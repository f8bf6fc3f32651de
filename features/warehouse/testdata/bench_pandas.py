"""The 45 columns of BenchmarkRawCompiled in pandas, on the same Parquet files: bench_pandas.py HISTORY_DIR [--tuned]. Prints the seconds of reading and of
computing, and the sums of a few columns, which the comparison checks. Only the needed columns are read and every window is one vectorised group-by.
Texts have the type that pandas gives them; --tuned makes them categories while they are read and gives back memory early, as its experts do."""
import glob
import json
import resource
import sys
import time

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

DAY = np.timedelta64(1, "D")


def read(directory, tuned):
    columns = ["user_id", "event", "ts", "biz_day", "known_day", "value_micros", "discount_micros", "coupon_id"]
    table = pq.ParquetDataset(sorted(glob.glob(directory + "/events/*/*/part.parquet"))).read(columns=columns)
    return table.to_pandas(strings_to_categorical=tuned, split_blocks=tuned, self_destruct=tuned, date_as_object=False)


def features(e, cut, zone_hours):
    e = e[(e.biz_day < cut) & (e.known_day < cut) & (e.user_id != "")]
    cut_ts = cut.tz_localize(None) - pd.Timedelta(hours=zone_hours)
    day = e.biz_day.values
    orders = e[e.event == "Order Completed"]
    refunds = e[e.event == "Order Refunded"]

    def by(frame):
        return frame.groupby("user_id", observed=True, sort=False)

    def since(frame, days, offset=0):
        kept = frame[frame.biz_day >= cut - pd.Timedelta(days=days + offset)]
        return kept[kept.biz_day < cut - pd.Timedelta(days=offset)] if offset else kept

    total = by(orders)
    out = pd.DataFrame({"orders_all": total.size(), "revenue": total.value_micros.sum(), "discount": total.discount_micros.sum(), "max_order": total.value_micros.max(),
                        "first": total.ts.min(), "last": total.ts.max(), "first_day": total.biz_day.min(), "last_day": total.biz_day.max()})

    def put(name, series):
        out[name] = series.reindex(out.index).fillna(0).astype("int64")

    for n in (7, 30, 90, 180, 365):
        part = by(since(orders, n))
        put(f"orders_{n}d", part.size())
        put(f"revenue_{n}d", part.value_micros.sum())
    previous = by(since(orders, 90, 90))
    put("revenue_prev90", previous.value_micros.sum())
    put("orders_prev90", previous.size())
    put("refunds_all", by(refunds).size())
    put("refunded", by(refunds).value_micros.sum())
    put("refunds_90", by(since(refunds, 90)).size())
    sessions = e[e.event == "Session Started"]
    for n in (7, 30, 90):
        put(f"sessions_{n}d", by(since(sessions, n)).size())
    put("views_30d", by(since(e[e.event == "Product Viewed"], 30)).size())
    put("carts_30d", by(since(e[e.event == "Product Added"], 30)).size())
    coupons = orders[orders.coupon_id.notna()]
    put("coupon_orders_all", by(coupons).size())
    put("coupon_orders_90d", by(since(coupons, 90)).size())
    put("discounted", by(orders[orders.discount_micros > 0]).size())
    active = e[~e.event.isin(["Experiment Viewed", "Message Sent", "Promotion Viewed", "Identity Linked"])]
    recent = since(active, 90)[["user_id", "biz_day"]].drop_duplicates()
    put("active_days_90", by(recent).size())
    put("active_days_30", by(since(recent, 30)).size())
    out["last_seen"] = by(active).ts.max().reindex(out.index)

    days = orders.groupby(["user_id", "biz_day"], observed=True, sort=True).value_micros.sum().reset_index()
    days["gap"] = days.groupby("user_id", observed=True).biz_day.diff() / pd.Timedelta(days=1)
    own = by(days)
    out["order_days_all"] = own.size()
    put("order_days_365d", by(since(days, 365)).size())
    out["first_revenue"] = own.value_micros.first()
    out["longest_gap_days"] = own.gap.max()
    out["ipt_sd"] = own.gap.std()
    out["previous_day"] = days.groupby("user_id", observed=True).tail(2).groupby("user_id", observed=True).biz_day.first()

    day1 = pd.Timedelta(days=1)
    out["aov_all"] = out.revenue / 1e6 / out.orders_all
    out["recency_days"] = (cut_ts - out["last"]) / day1
    out["tenure_days"] = (cut_ts - out["first"]) / day1
    out["frequency"] = out.order_days_all - 1
    out["recency"] = (out.last_day - out.first_day) / day1
    out["T"] = (cut - out.first_day) / day1
    out["monetary"] = (out.revenue - out.first_revenue) / 1e6 / out.frequency.where(out.frequency > 0)
    out["ipt_mean"] = (out["last"] - out["first"]) / day1 / (out.orders_all - 1).where(out.orders_all > 1)
    out["recency_ratio"] = out.recency_days / out.ipt_mean.where(out.ipt_mean > 0)
    both = out.revenue_90d + out.revenue_prev90
    out["trend_90"] = (out.revenue_90d - out.revenue_prev90) / both.where(both != 0)
    both = out.orders_90d + out.orders_prev90
    out["orders_trend_90"] = (out.orders_90d - out.orders_prev90) / both.where(both != 0)
    out["refund_share_all"] = out.refunded / out.revenue.where(out.revenue != 0)
    gross = out.revenue + out.discount
    out["discount_share_all"] = out.discount / gross.where(gross != 0)
    out["discounted_share_all"] = out.discounted / out.orders_all
    out["net_revenue_all"] = (out.revenue - out.refunded) / 1e6
    out["inactive_days"] = (cut_ts - out.last_seen) / day1
    silent = out["T"] - out.recency
    gap = (out.last_day - out.previous_day.where(out.order_days_all > 1)) / day1
    rhythm = (out.orders_all >= 3) & (silent * (out.orders_all - 1) > 2.5 * out.recency)
    out["stage"] = np.select(
        [(silent <= 30) & (gap > 180), silent > 180, (silent > 90) | ((silent > 30) & ((out.orders_all == 1) | rhythm)), out.orders_365d >= 5, out.orders_all >= 2],
        ["reactivated", "lapsed", "declining", "loyal", "active"], "new")
    return out.sort_index()


def main():
    directory, tuned = sys.argv[1], sys.argv[2:] == ["--tuned"]
    history = json.load(open(directory + "/history.json"))
    start = time.perf_counter()
    events = read(directory, tuned)
    loaded = time.perf_counter()
    rows = len(events)
    table = features(events, pd.Timestamp("1970-01-01") + pd.Timedelta(days=history["Cut"]), 8)
    done = time.perf_counter()
    table.to_parquet(directory + "/pandas.parquet")
    print(json.dumps({"tuned": tuned, "rows": rows, "users": len(table), "read_seconds": round(loaded - start, 2), "compute_seconds": round(done - loaded, 2), "write_seconds": round(time.perf_counter() - done, 2),
                      "cpu_seconds": round(time.process_time(), 2), "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "orders_all": int(table.orders_all.sum()), "revenue_90d": int(table.revenue_90d.sum()),
                      "stages": table.stage.value_counts().to_dict()}))


main()
