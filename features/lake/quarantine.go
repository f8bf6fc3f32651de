package lake

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"perennial/features"
)

// maxQuarantine is how many bytes of refused events of the doors are kept twice: in the file that grows and in the one before it.
const maxQuarantine = 16 << 20

// maxQuarantineRow is how much of a refused event's text is kept.
const maxQuarantineRow = 1000

// Quarantined is an event that a door refused: nothing is dropped silently.
type Quarantined struct {
	At     time.Time `json:"at"`
	Door   string    `json:"door"`
	Field  string    `json:"field"`
	Reason string    `json:"reason"`
	Row    string    `json:"row,omitempty"` // as it came, clipped; left out where ids are pseudonyms
}

// quarantine is the file of refused events.
type quarantine struct{ mu sync.Mutex }

func (l *Lake) quarantinePath() string { return filepath.Join(l.o.Private, "rejects", "doors.ndjson") }

// Quarantine keeps refused events aside: faults[i] is what is wrong with texts[i], which may be shorter. It keeps nothing while the disk is full, as
// the caller is told of each fault anyway.
func (l *Lake) Quarantine(door string, faults []features.Fault, texts []string) error {
	if len(faults) == 0 || l.disk.check(l.o.Private, l.o.Reserve, 0) != nil {
		return nil
	}
	var lines []byte
	at := l.now().UTC()
	for i, f := range faults {
		q := Quarantined{At: at, Door: door, Field: f.Field, Reason: f.Reason}
		if i < len(texts) && l.o.Shop.PseudonymKey == "" {
			q.Row = texts[i][:min(len(texts[i]), maxQuarantineRow)]
		}
		doc, err := json.Marshal(q)
		if err != nil {
			return err
		}
		lines = append(append(lines, doc...), '\n')
	}
	l.quarantine.mu.Lock()
	defer l.quarantine.mu.Unlock()
	path := l.quarantinePath()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && info.Size() > maxQuarantine {
		if err := os.Rename(path, filepath.Join(filepath.Dir(path), "doors.1.ndjson")); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(lines)
	return errors.Join(err, f.Close())
}

// QuarantineReason counts the kept refusals of one reason.
type QuarantineReason struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// ReadQuarantine returns the newest refused events of the doors, newest first, at most limit, and how often each reason stands in what is kept, most
// frequent first.
func (l *Lake) ReadQuarantine(limit int) (newest []Quarantined, reasons []QuarantineReason, err error) {
	at := map[[2]string]int{}
	for _, name := range []string{"doors.1.ndjson", "doors.ndjson"} {
		f, err := os.Open(filepath.Join(l.o.Dir, "rejects", name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 64<<10)
		for lines.Scan() {
			var q Quarantined
			if json.Unmarshal(lines.Bytes(), &q) != nil {
				continue // cut off by a crash
			}
			key := [2]string{q.Field, q.Reason}
			if _, ok := at[key]; !ok {
				at[key] = len(reasons)
				reasons = append(reasons, QuarantineReason{q.Field, q.Reason, 0})
			}
			reasons[at[key]].Count++
			if newest = append(newest, q); len(newest) > 2*limit {
				newest = append(newest[:0], newest[len(newest)-limit:]...)
			}
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, nil, err
		}
	}
	slices.Reverse(newest)
	slices.SortStableFunc(reasons, func(a, b QuarantineReason) int { return b.Count - a.Count })
	return newest[:min(limit, len(newest))], reasons, nil
}
