package api

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"sort"
	"sync"
	"time"

	"perennial/experiments"
	"perennial/features"
)

// plan is what the doors derive once from a snapshot of definitions and a snapshot of scores.
type plan struct {
	snap     *experiments.Snapshot
	profiles *features.Profiles
	keys     []string    // started experiments: what a question without a list asks for
	switches []string    // flags of an upstream Unleash that experiments hang on
	limited  []string    // offers with a quota
	turns    []time.Time // instants at which a schedule changes answers, ascending
	offers   sync.Map    // *experiments.Offer → its JSON
	version  string      // score version, "" without scores
}

// current returns the plan of the newest snapshots; nil before the definitions are loaded.
func (s *Server) current() *plan {
	snap, profiles := s.o.Snapshot(), s.profiles()
	if snap == nil {
		return nil
	}
	p := s.plan.Load()
	if p != nil && p.snap == snap && p.profiles == profiles {
		return p
	}
	p = newPlan(snap, profiles)
	s.plan.Store(p)
	return p
}

func (s *Server) profiles() *features.Profiles {
	if s.o.Profiles == nil {
		return nil
	}
	return s.o.Profiles()
}

func newPlan(snap *experiments.Snapshot, profiles *features.Profiles) *plan {
	p := &plan{snap: snap, profiles: profiles}
	for _, key := range snap.Keys() {
		e, ok := snap.Experiment(key)
		if !ok {
			continue
		}
		if e.Status == experiments.Running || e.Status == experiments.Stopped {
			p.keys = append(p.keys, key)
		}
		if e.KillSwitch != "" {
			p.switches = append(p.switches, e.KillSwitch)
		}
		turns := []*time.Time{e.StartAt, e.EndAt}
		for _, o := range snap.Offers(key) {
			turns = append(turns, o.StartsAt, o.EndsAt)
			if o.Quota != nil {
				p.limited = append(p.limited, o.Key)
			}
		}
		for _, t := range turns {
			if t != nil {
				p.turns = append(p.turns, *t)
			}
		}
	}
	sort.Slice(p.turns, func(i, j int) bool { return p.turns[i].Before(p.turns[j]) })
	if profiles != nil {
		p.version = profiles.Version
	}
	return p
}

// offerDoc is what an assignment says of its offer.
type offerDoc struct {
	Key       string           `json:"key"`
	Rules     experiments.Text `json:"rules"`
	RulesHash string           `json:"rules_hash" doc:"SHA-256 of the rules, so that what was shown can be proved later"`
	EndsAt    *time.Time       `json:"ends_at"`
}

func offerOf(o *experiments.Offer) offerDoc {
	return offerDoc{Key: o.Key, Rules: o.Rules, RulesHash: o.HashOfRules(), EndsAt: o.EndsAt}
}

// offer returns the JSON of an offer of the snapshot, encoded once.
func (p *plan) offer(o *experiments.Offer) []byte {
	if raw, ok := p.offers.Load(o); ok {
		return raw.([]byte)
	}
	raw, _ := json.Marshal(offerOf(o))
	p.offers.Store(o, raw)
	return raw
}

// etag is the identity of an answer: the definitions, the scores, the schedule, consent, today's counts and the whole question (as bytes: another
// spelling is another question). It costs one hash and no evaluation.
func (a *ask) etag(surface string, parts ...[]byte) string {
	h, p, now := sha256.New(), a.p, a.unit.Now
	var head [56]byte
	binary.LittleEndian.PutUint64(head[:], uint64(p.snap.Version()))
	turn := sort.Search(len(p.turns), func(i int) bool { return p.turns[i].After(now) })
	binary.LittleEndian.PutUint64(head[8:], uint64(turn))
	if a.unit.OptedOut {
		head[16] = 1
	}
	orders, carts, last := recentOf(a.s.o.Lake, a.unit.ID, a.person)
	binary.LittleEndian.PutUint64(head[24:], uint64(orders))
	binary.LittleEndian.PutUint64(head[32:], uint64(carts))
	binary.LittleEndian.PutUint64(head[40:], uint64(last.Unix()))
	binary.LittleEndian.PutUint64(head[48:], uint64(a.s.o.Shop.DayOf(now)))
	h.Write(head[:])
	for _, flag := range p.switches {
		h.Write(bit(a.s.o.Upstream != nil && a.s.o.Upstream(flag)))
	}
	for _, offer := range p.limited {
		h.Write(bit(a.s.o.OfferOut != nil && a.s.o.OfferOut(offer)))
	}
	if a.flags != nil {
		h.Write([]byte(a.flags.ETag))
	}
	if len(a.person) > 0 {
		a.writePerson(h)
	}
	h.Write([]byte(surface))
	h.Write([]byte{0})
	h.Write([]byte(p.version))
	for _, part := range parts {
		h.Write([]byte{0})
		h.Write(part)
	}
	var sum [sha256.Size]byte
	return `"` + hex.EncodeToString(h.Sum(sum[:0])[:16]) + `"`
}

func bit(b bool) []byte {
	if b {
		return []byte{1}
	}
	return []byte{0}
}
