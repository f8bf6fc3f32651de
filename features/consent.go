package features

import (
	"encoding/json"
	"time"
)

// Purposes of consent. Unknown is not refused: only an explicit refusal excludes.
const (
	ConsentAnalytics = "analytics"              // a refusal keeps a user out of training
	ConsentMarketing = "personalised_marketing" // a refusal keeps a user out of every experiment
)

// ConsentUpdated is the event by which a user gives or takes back her consent; its properties name the purposes: {"analytics":true,
// "personalised_marketing":false}. The history of the bits is the history of these events.
const ConsentUpdated = "Consent Updated"

// Consent is one bit of one user from one moment on.
type Consent struct {
	User     string
	Purpose  string
	Granted  bool
	At       time.Time
	KnownDay Day
}

// ConsentsOf returns the bits that an event sets, in the order of purposes; nil for any other event.
func ConsentsOf(e *Event) []Consent {
	if e.Name != ConsentUpdated {
		return nil
	}
	var bits map[string]json.RawMessage
	if json.Unmarshal(e.Properties, &bits) != nil {
		return nil
	}
	var out []Consent
	for _, purpose := range []string{ConsentAnalytics, ConsentMarketing} {
		switch string(bits[purpose]) {
		case "true":
			out = append(out, Consent{e.UserID, purpose, true, e.TS, e.KnownDay})
		case "false":
			out = append(out, Consent{e.UserID, purpose, false, e.TS, e.KnownDay})
		}
	}
	return out
}
