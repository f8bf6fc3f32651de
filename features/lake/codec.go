package lake

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"perennial/features"
)

// A journal record is one batch: version byte, received_at (µs), count, events. Each event is a presence mask and its present
// fields in a fixed order; strings are length-prefixed, numbers zig-zag varints. Pebble checksums the bytes.
const recordVersion = 1

var errRecord = errors.New("journal record is damaged")

// presence bits, in the order of the fields in the record.
const (
	hasAnonymous = 1 << iota
	hasSent
	hasValue
	hasMargin
	hasDiscount
	hasPlatform
	hasCommission
	hasCost
	hasCurrency
	hasOrder
	hasProduct
	hasCategory
	hasChannel
	hasCoupon
	hasSession
	hasProperties
)

func appendRecordHead(dst []byte, received time.Time, count int) []byte {
	dst = binary.AppendVarint(append(dst, recordVersion), received.UnixMicro())
	return binary.AppendUvarint(dst, uint64(count))
}

// appendEvent appends one event; ReceivedAt stands in the head. AvailableAt of a live event is its ReceivedAt and is not kept.
func appendEvent(dst []byte, e *features.Event) []byte {
	mask := presence(e)
	dst = binary.AppendUvarint(dst, mask)
	dst = appendString(dst, e.EventID)
	dst = appendString(dst, e.UserID)
	dst = appendString(dst, e.Name)
	dst = binary.AppendVarint(dst, e.TS.UnixMicro())
	dst = binary.AppendVarint(dst, int64(e.IDDay))
	dst = binary.AppendVarint(dst, int64(e.BizDay))
	dst = binary.AppendVarint(dst, int64(e.KnownDay))
	if mask&hasSent != 0 {
		dst = binary.AppendVarint(dst, e.SentAt.UnixMicro())
	}
	dst = appendPresent(dst, e.AnonymousID)
	dst = appendPresent(dst, e.Currency)
	dst = appendPresent(dst, e.OrderID)
	dst = appendPresent(dst, e.ProductID)
	dst = appendPresent(dst, e.Category)
	dst = appendPresent(dst, e.Channel)
	dst = appendPresent(dst, e.CouponID)
	dst = appendPresent(dst, e.SessionID)
	dst = appendAmount(dst, e.Value)
	dst = appendAmount(dst, e.Margin)
	dst = appendAmount(dst, e.Discount)
	dst = appendAmount(dst, e.PlatformDiscount)
	dst = appendAmount(dst, e.Commission)
	dst = appendAmount(dst, e.Cost)
	if mask&hasProperties != 0 {
		dst = append(binary.AppendUvarint(dst, uint64(len(e.Properties))), e.Properties...)
	}
	return dst
}

// presence returns the mask of an event's optional fields.
func presence(e *features.Event) (mask uint64) {
	set := func(there bool, bit uint64) {
		if there {
			mask |= bit
		}
	}
	set(e.AnonymousID != "", hasAnonymous)
	set(!e.SentAt.IsZero(), hasSent)
	set(e.Value.Valid, hasValue)
	set(e.Margin.Valid, hasMargin)
	set(e.Discount.Valid, hasDiscount)
	set(e.PlatformDiscount.Valid, hasPlatform)
	set(e.Commission.Valid, hasCommission)
	set(e.Cost.Valid, hasCost)
	set(e.Currency != "", hasCurrency)
	set(e.OrderID != "", hasOrder)
	set(e.ProductID != "", hasProduct)
	set(e.Category != "", hasCategory)
	set(e.Channel != "", hasChannel)
	set(e.CouponID != "", hasCoupon)
	set(e.SessionID != "", hasSession)
	set(len(e.Properties) > 0, hasProperties)
	return mask
}

func appendPresent(dst []byte, s string) []byte {
	if s == "" {
		return dst
	}
	return appendString(dst, s)
}

func appendAmount(dst []byte, a features.Amount) []byte {
	if !a.Valid {
		return dst
	}
	return binary.AppendVarint(dst, int64(a.Micros))
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// recordReader reads a record; after the first fault everything it returns is zero and err is set. Its texts share the record's memory.
type recordReader struct {
	data string
	err  error
}

func (r *recordReader) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(r.data) && i < binary.MaxVarintLen64; i++ {
		c := r.data[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				break // more than 64 bits
			}
			r.data = r.data[i+1:]
			return v
		}
	}
	r.err, r.data = errRecord, ""
	return 0
}

func (r *recordReader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *recordReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		r.err, r.data = errRecord, ""
		return ""
	}
	s := r.data[:n]
	r.data = r.data[n:]
	return s
}

func (r *recordReader) textIf(mask, bit uint64) string {
	if mask&bit == 0 {
		return ""
	}
	return r.text()
}

func (r *recordReader) amountIf(mask, bit uint64) features.Amount {
	if mask&bit == 0 {
		return features.Amount{}
	}
	return features.AmountOf(features.Micros(r.varint()))
}

// decodeRecord appends the events of a record, with all their times and days, to dst. Their texts share one copy of the record.
func decodeRecord(dst []features.Event, record []byte) ([]features.Event, error) {
	if len(record) == 0 || record[0] != recordVersion {
		return dst, errRecord
	}
	r := recordReader{data: string(record[1:])}
	received := time.UnixMicro(r.varint()).UTC()
	n := r.uvarint()
	if n > uint64(len(r.data)) { // every event takes more than a byte
		return dst, errRecord
	}
	dst = slices.Grow(dst, int(n))
	for ; n > 0 && r.err == nil; n-- {
		dst = append(dst, features.Event{ReceivedAt: received, AvailableAt: received})
		r.event(&dst[len(dst)-1])
	}
	if r.err == nil && len(r.data) > 0 {
		r.err = errRecord
	}
	return dst, r.err
}

// event reads what appendEvent wrote.
func (r *recordReader) event(e *features.Event) {
	mask := r.uvarint()
	e.EventID, e.UserID, e.Name = r.text(), r.text(), r.text()
	e.TS = time.UnixMicro(r.varint()).UTC()
	e.IDDay, e.BizDay, e.KnownDay = features.Day(r.varint()), features.Day(r.varint()), features.Day(r.varint())
	if mask&hasSent != 0 {
		e.SentAt = time.UnixMicro(r.varint()).UTC()
	}
	e.AnonymousID, e.Currency = r.textIf(mask, hasAnonymous), r.textIf(mask, hasCurrency)
	e.OrderID, e.ProductID, e.Category = r.textIf(mask, hasOrder), r.textIf(mask, hasProduct), r.textIf(mask, hasCategory)
	e.Channel, e.CouponID, e.SessionID = r.textIf(mask, hasChannel), r.textIf(mask, hasCoupon), r.textIf(mask, hasSession)
	e.Value, e.Margin, e.Discount = r.amountIf(mask, hasValue), r.amountIf(mask, hasMargin), r.amountIf(mask, hasDiscount)
	e.PlatformDiscount, e.Commission, e.Cost = r.amountIf(mask, hasPlatform), r.amountIf(mask, hasCommission), r.amountIf(mask, hasCost)
	if mask&hasProperties != 0 {
		e.Properties = []byte(r.text())
	}
}

// appendImported appends one event of an import, whose AvailableAt is its own.
func appendImported(dst []byte, e *features.Event) []byte {
	available := e.AvailableAt
	if available.IsZero() {
		available = e.TS
	}
	return binary.AppendVarint(appendEvent(dst, e), available.UnixMicro())
}

// decodeImported reads what appendImported wrote.
func decodeImported(row []byte) (e features.Event, err error) {
	r := recordReader{data: string(row)}
	r.event(&e)
	e.AvailableAt = time.UnixMicro(r.varint()).UTC()
	if r.err == nil && len(r.data) > 0 {
		r.err = errRecord
	}
	return e, r.err
}
