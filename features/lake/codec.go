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

// optional lists the optional texts and amounts of an event with their bits, in record order.
func optional(e *features.Event) (texts [8]struct {
	bit  uint64
	text *string
}, amounts [6]struct {
	bit    uint64
	amount *features.Amount
}) {
	for i, t := range []*string{&e.AnonymousID, &e.Currency, &e.OrderID, &e.ProductID, &e.Category, &e.Channel, &e.CouponID, &e.SessionID} {
		texts[i].bit = [...]uint64{hasAnonymous, hasCurrency, hasOrder, hasProduct, hasCategory, hasChannel, hasCoupon, hasSession}[i]
		texts[i].text = t
	}
	for i, a := range []*features.Amount{&e.Value, &e.Margin, &e.Discount, &e.PlatformDiscount, &e.Commission, &e.Cost} {
		amounts[i].bit = [...]uint64{hasValue, hasMargin, hasDiscount, hasPlatform, hasCommission, hasCost}[i]
		amounts[i].amount = a
	}
	return texts, amounts
}

func appendRecordHead(dst []byte, received time.Time, count int) []byte {
	dst = binary.AppendVarint(append(dst, recordVersion), received.UnixMicro())
	return binary.AppendUvarint(dst, uint64(count))
}

// appendEvent appends one event; ReceivedAt stands in the head. AvailableAt of a live event is its ReceivedAt and is not kept.
func appendEvent(dst []byte, e *features.Event) []byte {
	texts, amounts := optional(e)
	var mask uint64
	for i := range texts {
		if *texts[i].text != "" {
			mask |= texts[i].bit
		}
	}
	for i := range amounts {
		if amounts[i].amount.Valid {
			mask |= amounts[i].bit
		}
	}
	if !e.SentAt.IsZero() {
		mask |= hasSent
	}
	if len(e.Properties) > 0 {
		mask |= hasProperties
	}
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
	for i := range texts {
		if mask&texts[i].bit != 0 {
			dst = appendString(dst, *texts[i].text)
		}
	}
	for i := range amounts {
		if mask&amounts[i].bit != 0 {
			dst = binary.AppendVarint(dst, int64(amounts[i].amount.Micros))
		}
	}
	if mask&hasProperties != 0 {
		dst = appendString(dst, string(e.Properties))
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// recordReader reads a record; after the first fault everything it returns is zero and err is set.
type recordReader struct {
	data []byte
	err  error
}

func (r *recordReader) varint() int64 {
	v, n := binary.Varint(r.data)
	if n <= 0 {
		r.err, r.data = errRecord, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	if n <= 0 {
		r.err, r.data = errRecord, nil
		return 0
	}
	r.data = r.data[n:]
	return v
}

func (r *recordReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		r.err, r.data = errRecord, nil
		return ""
	}
	s := string(r.data[:n])
	r.data = r.data[n:]
	return s
}

// decodeRecord appends the events of a record, with all their times and days, to dst.
func decodeRecord(dst []features.Event, record []byte) ([]features.Event, error) {
	if len(record) == 0 || record[0] != recordVersion {
		return dst, errRecord
	}
	r := recordReader{data: record[1:]}
	received := time.UnixMicro(r.varint()).UTC()
	n := r.uvarint()
	if n > uint64(len(r.data)) { // every event takes more than a byte
		return dst, errRecord
	}
	dst = slices.Grow(dst, int(n))
	for ; n > 0 && r.err == nil; n-- {
		var e features.Event
		mask := r.uvarint()
		e.EventID, e.UserID, e.Name = r.text(), r.text(), r.text()
		e.TS = time.UnixMicro(r.varint()).UTC()
		e.IDDay, e.BizDay, e.KnownDay = features.Day(r.varint()), features.Day(r.varint()), features.Day(r.varint())
		if mask&hasSent != 0 {
			e.SentAt = time.UnixMicro(r.varint()).UTC()
		}
		texts, amounts := optional(&e)
		for i := range texts {
			if mask&texts[i].bit != 0 {
				*texts[i].text = r.text()
			}
		}
		for i := range amounts {
			if mask&amounts[i].bit != 0 {
				*amounts[i].amount = features.AmountOf(features.Micros(r.varint()))
			}
		}
		if mask&hasProperties != 0 {
			e.Properties = []byte(r.text())
		}
		e.ReceivedAt, e.AvailableAt = received, received
		dst = append(dst, e)
	}
	if r.err == nil && len(r.data) > 0 {
		r.err = errRecord
	}
	return dst, r.err
}
