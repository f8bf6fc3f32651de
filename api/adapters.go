package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/gin-gonic/gin"

	"perennial/features"
)

// Lines of other systems are read by the importer's presets, so that a file and a request give the same events with the same derived ids.

// SensorsLine is one line of 神策 (Sensors Analytics).
type SensorsLine struct {
	DistinctID string         `json:"distinct_id" required:"true" doc:"The user"`
	Time       int64          `json:"time" required:"true" doc:"Milliseconds since 1970"`
	Type       string         `json:"type" required:"true" doc:"Only track lines are events"`
	Event      string         `json:"event" required:"true"`
	Properties map[string]any `json:"properties,omitempty"`
}

// GrowthBookRow is one row of an exposure table of GrowthBook.
type GrowthBookRow struct {
	Timestamp    string `json:"timestamp" required:"true"`
	UserID       string `json:"user_id" required:"true"`
	ExperimentID string `json:"experiment_id" required:"true"`
	VariationID  string `json:"variation_id" required:"true"`
}

// adapters registers the doors of other systems' lines.
func (s *Server) adapters() {
	d := doorway{who: apps, hot: true, knows: true, limit: eventBody}
	s.handle(http.MethodPost, "/v1/events/sensors", d, s.foreign("sensors"))
	s.document(apps, "events", "POST", "/v1/events/sensors", "send-sensors", "Send lines of 神策", "A JSON array or NDJSON, gzip allowed. The event's id is derived from the line: "+
		"the same line again is a duplicate.", 202, []SensorsLine{}, EventsAnswer{})
	s.handle(http.MethodPost, "/v1/events/growthbook", d, s.foreign("growthbook"))
	s.document(apps, "events", "POST", "/v1/events/growthbook", "send-growthbook", "Send exposure rows of GrowthBook", "A JSON array or NDJSON of timestamp, user_id, experiment_id and "+
		"variation_id; each becomes an Experiment Viewed.", 202, []GrowthBookRow{}, EventsAnswer{})
}

// foreign reads the lines of a preset.
func (s *Server) foreign(preset string) gin.HandlerFunc {
	return func(c *gin.Context) {
		raw, err := readAll(c.Request, nil)
		if err != nil {
			s.fail(c, err)
			return
		}
		lines, err := linesOf(raw)
		if err != nil {
			s.fail(c, eventProblem(err))
			return
		}
		b, err := s.readForeign(preset, lines)
		if err != nil {
			s.fail(c, err)
			return
		}
		answer, err := s.store(c, b)
		if err != nil {
			s.fail(c, err)
			return
		}
		c.JSON(http.StatusAccepted, answer)
	}
}

// linesOf cuts a body into the texts of its lines.
func linesOf(raw []byte) ([][]byte, error) {
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
	var lines [][]byte
	switch {
	case len(raw) == 0:
		return nil, features.ErrUnreadable
	case raw[0] == '[':
		var elements []json.RawMessage
		if json.Unmarshal(raw, &elements) != nil {
			return nil, features.ErrUnreadable
		}
		for _, e := range elements {
			lines = append(lines, e)
		}
	default:
		each := features.NewLines(bytes.NewReader(raw))
		for {
			text, _, err := each.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if text = bytes.TrimSpace(text); len(text) > 0 {
				lines = append(lines, bytes.Clone(text))
			}
		}
		if lines[0][0] != '{' {
			return nil, features.ErrUnreadable
		}
	}
	if len(lines) > 10_000 {
		return nil, features.ErrTooLarge
	}
	return lines, nil
}

// readForeign makes events of lines; a bad one is a fault of its own.
func (s *Server) readForeign(preset string, lines [][]byte) (*features.Batch, error) {
	im, err := features.NewImporter(features.ImportOptions{Preset: preset, Shop: s.o.Shop, Now: s.now()})
	if err != nil {
		return nil, err
	}
	if err := im.Start(nil); err != nil {
		return nil, err
	}
	b := &features.Batch{}
	for i, line := range lines {
		err := im.Object(line)
		var fault *features.InvalidError
		if errors.As(err, &fault) {
			b.Rejected, b.Texts = append(b.Rejected, features.Fault{Index: i, Field: fault.Field, Reason: fault.Reason}), append(b.Texts, string(line))
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range im.Take() {
			b.Events, b.Index = append(b.Events, e), append(b.Index, i)
		}
	}
	return b, nil
}
