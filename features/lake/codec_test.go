package lake

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"perennial/features"
)

func sampleEvents() []features.Event {
	received := time.UnixMicro(1_763_812_800_000_001).UTC()
	full := features.Event{EventID: "e", UserID: "ü", AnonymousID: "a", Name: "Order Completed", TS: received.Add(-time.Hour), SentAt: received.Add(-time.Minute),
		ReceivedAt: received, AvailableAt: received, IDDay: 20_000, BizDay: -1, KnownDay: 20_001,
		Value: features.AmountOf(-128_500_000), Margin: features.AmountOf(0), Discount: features.AmountOf(1), PlatformDiscount: features.AmountOf(2),
		Commission: features.AmountOf(3), Cost: features.AmountOf(1 << 60), Currency: "CNY", OrderID: "o", ProductID: "p", Category: "c",
		Channel: "ch", CouponID: "co", SessionID: "s", Properties: []byte(`{"a":1}`)}
	bare := features.Event{EventID: "b", UserID: "u", Name: "x", TS: received, ReceivedAt: received, AvailableAt: received}
	return []features.Event{full, bare, full}
}

func encodeRecord(events []features.Event) []byte {
	record := appendRecordHead(nil, events[0].ReceivedAt, len(events))
	for i := range events {
		record = appendEvent(record, &events[i])
	}
	return record
}

func TestRecordRoundTrip(t *testing.T) {
	want := sampleEvents()
	got, err := decodeRecord(nil, encodeRecord(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("decodeRecord = %+v, %v\nwant %+v", got, err, want)
	}
}

// A cut or damaged record is an error, never a panic, an endless loop or a shorter batch.
func TestRecordDamage(t *testing.T) {
	record := encodeRecord(sampleEvents())
	for n := range record {
		if _, err := decodeRecord(nil, record[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are read without an error", n, len(record))
		}
	}
	if _, err := decodeRecord(nil, append(record, 0)); err == nil {
		t.Error("a record with bytes after its end is read without an error")
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(encodeRecord(sampleEvents()))
	f.Fuzz(func(t *testing.T, record []byte) {
		events, err := decodeRecord(nil, record)
		if err == nil && len(events) > len(record) {
			t.Fatalf("%d events from %d bytes", len(events), len(record))
		}
	})
}

// The sets are equal to a map, over their growth and removals.
func TestHashSetEqualsMap(t *testing.T) {
	var s hashSet
	want := map[uint64]bool{}
	hash := func(i uint64) uint64 { return i * 0x9e3779b97f4a7c15 >> 40 << 8 } // many collide in their low bits
	for i := uint64(1); i < 5_000; i++ {
		h := hash(i)
		if h == 0 {
			continue
		}
		if got := s.add(h, uint32(i)); got == want[h] {
			t.Fatalf("add(%x) = %v with the hash there already: %v", h, got, want[h])
		}
		want[h] = true
		if i%97 == 0 {
			s.remove(h)
			delete(want, h)
		}
	}
	if s.len() != len(want) {
		t.Errorf("%d members, want %d", s.len(), len(want))
	}
	for i := uint64(1); i < 5_000; i++ {
		if h := hash(i); want[h] {
			if mark, ok := s.get(h); !ok || uint64(mark) != i {
				t.Fatalf("%x has mark %d, %v, want %d", h, mark, ok, i)
			}
		}
	}
	if s.has(12345) {
		t.Error("a stranger is a member")
	}
}

// A rotation forgets old ids and raises the floor with them, so that a seal looks into the files again.
func TestRecentIDsRotate(t *testing.T) {
	next := int64(1)
	r := newRecentIDs(100, func() int64 { return next })
	r.curFloor, r.prevFloor = 1, 1
	claim := func(id string) bool {
		_, _, fresh := r.claim(hashID(id), uint64(next))
		if fresh {
			next++
			r.grew(1)
		}
		return fresh
	}
	for i := range 350 {
		if !claim(string(rune('a'+i%26)) + time.Duration(i).String()) {
			t.Fatalf("id %d is known", i)
		}
	}
	if claim("a" + time.Duration(338).String()) {
		t.Error("an id of the newest hundred is forgotten")
	}
	if floor := r.floor(); floor != 201 {
		t.Errorf("floor = %d after 350 ids in generations of 100, want 201", floor)
	}
	if n := r.len(); n != 150 {
		t.Errorf("%d ids remembered, want 150", n)
	}
}

// The table of ids does what a map does, also when claims are taken back in the middle of a run of slots.
func TestIDTableEqualsMap(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	table, want := idTable{}, map[int]uint32{}
	key := func(id int, batch uint64) idSlot { return slotOf(hashID(fmt.Sprint(id)), batch) }
	for range 200_000 {
		id := r.IntN(3000)
		batch := uint64(r.IntN(1000))
		k := key(id, batch)
		k.hi &= 1<<12 - 1 // long runs
		k.lo = uint32(id)
		owner, ok := table.has(k)
		if mark, there := want[id]; there != ok || mark != owner {
			t.Fatalf("id %d: has = %d %v, want %d %v", id, owner, ok, mark, there)
		}
		switch {
		case !ok:
			table.put(k)
			want[id] = k.batch
		case r.IntN(3) > 0:
			table.remove(k)
			delete(want, id)
		}
		if table.n != len(want) {
			t.Fatalf("%d members, want %d", table.n, len(want))
		}
	}
}
