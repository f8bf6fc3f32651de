package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"perennial/experiments"
	"perennial/features/warehouse"
)

// countQuotasEvery is how often the given offers are counted anew from the lake. Between two counts this server adds what it gives itself; what reaches
// the lake otherwise (exposures sent as events, other servers) counts from the next one on.
const countQuotasEvery = time.Minute

// quotas is how many units were given each offer that has a quota. Given means exposed: the unit was shown the offer.
type quotas struct {
	mu     sync.Mutex // of writers of the map
	offers atomic.Pointer[map[string]*quota]
}

type quota struct {
	of    int64
	given atomic.Int64
}

// out tells whether an offer is used up.
func (q *quotas) out(offer string) bool {
	all := q.offers.Load()
	if all == nil {
		return false
	}
	c := (*all)[offer]
	return c != nil && c.given.Load() >= c.of
}

// give counts one unit that was shown an offer for the first time.
func (q *quotas) give(offer string) {
	if all := q.offers.Load(); all != nil {
		if c := (*all)[offer]; c != nil {
			c.given.Add(1)
		}
	}
}

// cover makes a count for every offer of new definitions that has none yet, so that what is given before the next full count is not lost.
func (q *quotas) cover(s *experiments.Snapshot) {
	q.mu.Lock()
	defer q.mu.Unlock()
	next := map[string]*quota{}
	for _, key := range s.Keys() {
		for _, o := range s.Offers(key) {
			if o.Quota != nil && next[o.Key] == nil {
				next[o.Key] = &quota{of: *o.Quota}
			}
		}
	}
	if old := q.offers.Load(); old != nil {
		for key, c := range next {
			if was := (*old)[key]; was != nil {
				c.given.Store(was.given.Load())
			}
		}
	}
	if len(next) > 0 || q.offers.Load() != nil {
		q.offers.Store(&next)
	}
}

// followQuotas counts until ctx ends.
func (v *live) followQuotas(ctx context.Context) {
	tick := time.NewTicker(countQuotasEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := v.countQuotas(ctx); err != nil && ctx.Err() == nil {
			v.a.Log.Error("quotas of offers are not fresh", "error", err)
		}
	}
}

// countQuotas counts the exposed units of every offer with a quota, over all experiments that were started.
func (v *live) countQuotas(ctx context.Context) error {
	v.quotas.mu.Lock()
	defer v.quotas.mu.Unlock()
	s := v.snapshot.Load()
	next, byExperiment := map[string]*quota{}, map[*experiments.Experiment]map[string]string{} // variant → offer
	for _, key := range s.Keys() {
		e, _ := s.Experiment(key)
		for _, o := range s.Offers(key) {
			if o.Quota == nil || e.Status == experiments.Draft {
				continue
			}
			next[o.Key] = &quota{of: *o.Quota}
			for _, x := range e.Variants {
				if x.Offer == o.Key {
					if byExperiment[e] == nil {
						byExperiment[e] = map[string]string{}
					}
					byExperiment[e][x.Key] = o.Key
				}
			}
		}
	}
	before := map[string]int64{}
	if old := v.quotas.offers.Load(); old != nil {
		for key, c := range *old {
			before[key] = c.given.Load()
		}
	}
	if len(next) == 0 {
		v.quotas.offers.Store(&next)
		return nil
	}
	if err := v.lake.Seal(ctx); err != nil {
		return err
	}
	snap, err := v.lake.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer snap.Close()
	engine, err := v.reader(ctx)
	if err != nil {
		return err
	}
	for e, offers := range byExperiment {
		plan := warehouse.MetricPlan{Experiment: e.Key, Start: startOf(e), AsOf: time.Now().UTC().Add(24 * time.Hour), HorizonDays: 1}
		for _, x := range e.Variants {
			plan.Variants = append(plan.Variants, x.Key)
		}
		for unit := range e.Forced {
			plan.Forced = append(plan.Forced, unit)
		}
		exposed, err := engine.Exposed(ctx, snap, plan)
		if err != nil {
			return fmt.Errorf("quotas of %s: %w", e.Key, err)
		}
		for _, variants := range exposed {
			for variant, units := range variants {
				if offer := offers[variant]; offer != "" {
					next[offer].given.Add(units)
				}
			}
		}
	}
	if old := v.quotas.offers.Load(); old != nil {
		for key, c := range next { // what was given while the lake was read
			if was := (*old)[key]; was != nil {
				c.given.Add(was.given.Load() - before[key])
			}
		}
	}
	v.quotas.offers.Store(&next)
	return nil
}
