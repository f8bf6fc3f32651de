package features

import "encoding/json"

// Cost is what one channel cost on one local day, such as the day's bill of an advertising platform: the input of CAC, LTV:CAC and
// payback. A correction is another Cost of the same day, channel and campaign with a later KnownDay; a cut uses the newest that was
// known before it.
type Cost struct {
	Day      Day
	Channel  string
	Campaign string // "" where the bill names none
	Micros   Micros
	KnownDay Day // local day on which it could be known
}

// Traits is what a shop says of one user, for targeting and segments. A value is a text or a number; a later one replaces an earlier.
type Traits struct {
	User   string
	Values map[string]json.RawMessage // JSON strings and numbers; null forgets a value
}
