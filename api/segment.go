package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"perennial/features"
)

// Segment's spec (https://segment.com/docs/connections/spec) on our rows: messageId → event_id, timestamp → ts, sentAt → sent_at, revenue|total|value →
// value. Every path answers 200 with counts: its SDKs throw a whole batch away for good on a 4xx, so that one bad event must never fail its batch.

// SegmentEvent is one message; unknown fields are ignored.
type SegmentEvent struct {
	Type        string          `json:"type,omitempty" enum:"track,identify,alias,page,screen,group"`
	MessageID   string          `json:"messageId,omitempty" doc:"Idempotency key"`
	UserID      *string         `json:"userId,omitempty"`
	AnonymousID *string         `json:"anonymousId,omitempty"`
	PreviousID  *string         `json:"previousId,omitempty" doc:"alias: the id that was used before"`
	Event       string          `json:"event,omitempty" doc:"track: the name"`
	Name        string          `json:"name,omitempty" doc:"page, screen: the name"`
	Timestamp   string          `json:"timestamp,omitempty"`
	SentAt      string          `json:"sentAt,omitempty"`
	Properties  json.RawMessage `json:"properties,omitempty"`
	Traits      json.RawMessage `json:"traits,omitempty"`
	GroupID     string          `json:"groupId,omitempty"`
}

// SegmentBatch is POST /v1/batch.
type SegmentBatch struct {
	Batch  []SegmentEvent `json:"batch" required:"true"`
	SentAt string         `json:"sentAt,omitempty"`
}

// segmentAnswer is EventsAnswer beside the word that Segment itself answers with.
type segmentAnswer struct {
	Success bool `json:"success"`
	EventsAnswer
}

// segment registers Segment's doors.
func (s *Server) segment() {
	d := doorway{who: browser, hot: true, knows: true, cors: true, limit: eventBody}
	paths := []string{}
	for _, kind := range []string{"track", "identify", "alias", "page", "screen", "group"} {
		path := "/v1/" + kind
		s.handle(http.MethodPost, path, d, s.segmentOne(kind))
		s.document(browser, "segment", "POST", path, "segment-"+kind, "Segment's "+kind, "Always 200 with counts once the key is good.", 200, SegmentEvent{}, segmentAnswer{})
		paths = append(paths, path)
	}
	s.handle(http.MethodPost, "/v1/batch", d, s.segmentBatch)
	s.handle(http.MethodPost, "/v1/import", d, s.segmentBatch)
	s.document(browser, "segment", "POST", "/v1/batch", "segment-batch", "Segment's batch", "Always 200 with counts once the key is good.", 200, SegmentBatch{}, segmentAnswer{})
	s.preflight(append(paths, "/v1/batch", "/v1/import")...)
}

func (s *Server) segmentOne(kind string) gin.HandlerFunc {
	return func(c *gin.Context) {
		raw, err := readAll(c.Request, nil)
		if err != nil {
			s.fail(c, err)
			return
		}
		s.segmentStore(c, []json.RawMessage{raw}, kind, "")
	}
}

func (s *Server) segmentBatch(c *gin.Context) {
	raw, err := readAll(c.Request, nil)
	if err != nil {
		s.fail(c, err)
		return
	}
	var in struct {
		Batch  []json.RawMessage `json:"batch"`
		SentAt string            `json:"sentAt"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		s.segmentAnswer(c, &EventsAnswer{Rejected: []features.Fault{{Field: "body", Reason: "not JSON: " + err.Error()}}})
		return
	}
	if len(in.Batch) > 10_000 {
		s.fail(c, problem(http.StatusRequestEntityTooLarge, "more than 10000 events: send smaller batches"))
		return
	}
	s.segmentStore(c, in.Batch, "", in.SentAt)
}

func (s *Server) segmentAnswer(c *gin.Context, a *EventsAnswer) {
	c.JSON(http.StatusOK, segmentAnswer{Success: true, EventsAnswer: *a})
}

// segmentStore maps, checks and stores messages.
func (s *Server) segmentStore(c *gin.Context, messages []json.RawMessage, kind, sentAt string) {
	b := &features.Batch{}
	now := s.now()
	for i, raw := range messages {
		e, err := s.segmentEvent(raw, kind, sentAt, now)
		if err != nil {
			p := problemOf(err)
			f := features.Fault{Index: i, Field: "body", Reason: p.Detail}
			if len(p.Errors) > 0 {
				f.Field, f.Reason = p.Errors[0].Field, p.Errors[0].Reason
			}
			b.Rejected, b.Texts = append(b.Rejected, f), append(b.Texts, string(raw))
			continue
		}
		b.Events, b.Index = append(b.Events, e), append(b.Index, i)
	}
	answer, err := s.store(c, b)
	if err != nil {
		s.fail(c, err) // 429 and 503: these SDKs send the batch again
		return
	}
	s.segmentAnswer(c, answer)
}

// segmentEvent maps one message on CONTRACT §3 and lets the one decoder judge it.
func (s *Server) segmentEvent(raw []byte, kind, sentAt string, now time.Time) (features.Event, error) {
	var m SegmentEvent
	if err := json.Unmarshal(raw, &m); err != nil {
		return features.Event{}, err
	}
	if kind == "" {
		kind = m.Type
	}
	row := map[string]any{"event_id": m.MessageID, "ts": m.Timestamp}
	if m.Timestamp == "" {
		row["ts"] = now.UTC().Format(time.RFC3339Nano)
	}
	if m.SentAt != "" {
		sentAt = m.SentAt
	}
	if sentAt != "" {
		row["sent_at"] = sentAt
	}
	for field, id := range map[string]*string{"user_id": m.UserID, "anonymous_id": m.AnonymousID} {
		if id != nil && *id != "" {
			row[field] = *id
		}
	}
	properties := m.Properties
	switch kind {
	case "track":
		row["event"] = m.Event
	case "identify":
		row["event"] = "Identify"
		properties = m.Traits
		if m.UserID != nil && *m.UserID != "" && m.AnonymousID != nil && *m.AnonymousID != "" {
			row["event"] = features.IdentityLinked
		}
	case "alias":
		row["event"], row["anonymous_id"] = features.IdentityLinked, ""
		if m.PreviousID != nil {
			row["anonymous_id"] = *m.PreviousID
		}
	case "page", "screen":
		row["event"] = map[string]string{"page": "Page Viewed", "screen": "Screen Viewed"}[kind]
		if m.Name != "" {
			var fields map[string]json.RawMessage
			if json.Unmarshal(properties, &fields) != nil || fields == nil {
				fields = map[string]json.RawMessage{}
			}
			fields["name"], _ = json.Marshal(m.Name)
			properties, _ = json.Marshal(fields)
		}
	case "group":
		row["event"] = "Group"
		properties = m.Traits
	default:
		return features.Event{}, &features.InvalidError{Field: "type", Reason: fmt.Sprintf("%.40q is not one of track, identify, alias, page, screen, group", kind)}
	}
	if len(properties) > 0 && !bytes.Equal(bytes.TrimSpace(properties), []byte("null")) {
		if err := spread(row, properties); err != nil {
			return features.Event{}, err
		}
	}
	flat, err := json.Marshal(row)
	if err != nil {
		return features.Event{}, err
	}
	return features.DecodeEvent(flat, s.o.Shop, now)
}

// columns are the properties that are columns of an event; they leave the properties. Several names may mean one column: the first that is there counts.
var columns = []struct {
	field string
	names []string
	text  bool
}{{"value", []string{"revenue", "total", "value"}, false}, {"margin", []string{"margin"}, false}, {"discount", []string{"discount"}, false},
	{"platform_discount", []string{"platform_discount"}, false}, {"commission", []string{"commission"}, false}, {"cost", []string{"cost"}, false},
	{"currency", []string{"currency"}, true}, {"order_id", []string{"order_id", "orderId", "checkout_id"}, true}, {"product_id", []string{"product_id", "productId"}, true},
	{"category", []string{"category"}, true}, {"channel", []string{"channel"}, true}, {"coupon_id", []string{"coupon_id", "couponId", "coupon"}, true},
	{"session_id", []string{"session_id", "sessionId"}, true}}

// spread moves known properties to columns and keeps the rest, spelled as they came. A value of another type than its column stays a property, except money:
// a quoted amount is refused like everywhere else.
func spread(row map[string]any, raw json.RawMessage) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return &features.InvalidError{Field: "properties", Reason: "not a JSON object"}
	}
	for _, c := range columns {
		for _, name := range c.names {
			v := bytes.TrimSpace(fields[name])
			if len(v) == 0 || v[0] == 'n' || c.text && v[0] != '"' || !c.text && (v[0] == '{' || v[0] == '[' || v[0] == 't' || v[0] == 'f') {
				continue
			}
			row[c.field] = json.RawMessage(v)
			delete(fields, name)
			break
		}
	}
	if len(fields) > 0 {
		row["properties"] = fields
	}
	return nil
}
