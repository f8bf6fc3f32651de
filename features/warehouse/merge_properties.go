package warehouse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"perennial/features/vectors"
)

// asked are the keys of an exposure's properties that a plan asks for, with json_extract_string's answer where it has one.
type asked struct {
	texts [4]string // of askedKeys
	has   [4]bool
}

var askedKeys = []string{"experiment", "variant", "allocation_revision", "score_version"}

const (
	askedExperiment = iota
	askedVariant
	askedRevision
	askedVersion
)

// scan finds what is asked in a JSON text: the first value of a key of the object that it is, as json_extract_string has it. It says false of what it leaves to
// DuckDB: a text that is no JSON, half a surrogate, and values that are neither strings nor whole numbers nor words.
func (a *asked) scan(text []byte) bool {
	*a = asked{}
	if !json.Valid(text) || bytes.Contains(text, []byte(`\ud`)) || bytes.Contains(text, []byte(`\uD`)) {
		return false
	}
	var first [4]bool // the key was met before
	s := bytes.TrimLeft(text, " \t\r\n")
	if s[0] != '{' {
		return true // no object has no keys
	}
	// The text is valid, so that every value ends where it should.
	for i := skipSpace(s, 1); s[i] != '}'; {
		end := skipValue(s, i)
		name := -1
		if bytes.IndexByte(s[i:end], '\\') < 0 {
			name = slices.Index(askedKeys, string(s[i+1:end-1]))
		} else {
			var key string
			if json.Unmarshal(s[i:end], &key) != nil {
				return false
			}
			name = slices.Index(askedKeys, key)
		}
		i = skipSpace(s, skipSpace(s, end)+1) // the colon
		end = skipValue(s, i)
		if name >= 0 && !first[name] {
			first[name] = true
			switch value := s[i:end]; {
			case value[0] == 'n':
			case value[0] == '"' && bytes.IndexByte(value, '\\') < 0:
				a.texts[name], a.has[name] = string(value[1:len(value)-1]), true
			case value[0] == '"':
				if json.Unmarshal(value, &a.texts[name]) != nil {
					return false
				}
				a.has[name] = true
			case value[0] == 't' || value[0] == 'f' || isWhole(value):
				a.texts[name], a.has[name] = string(value), true
			default:
				return false
			}
		}
		if i = skipSpace(s, end); s[i] == ',' {
			i = skipSpace(s, i+1)
		}
	}
	return true
}

// isWhole tells whether a number is a whole one of up to 18 digits, which has one text only.
func isWhole(s []byte) bool {
	digits := bytes.TrimPrefix(s, []byte("-"))
	if len(digits) == 0 || len(digits) > 18 || len(digits) < len(s) && digits[0] == '0' {
		return false
	}
	return !slices.ContainsFunc(digits, func(c byte) bool { return c < '0' || c > '9' })
}

func skipSpace(s []byte, i int) int {
	for s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n' {
		i++
	}
	return i
}

// skipValue is the end of the value that begins at i.
func skipValue(s []byte, i int) int {
	for depth := 0; ; {
		switch s[i] {
		case '"':
			for i++; s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ',', ':', ' ', '\t', '\r', '\n':
			i++
		default:
			for ; i < len(s) && !strings.ContainsRune(",:]} \t\r\n", rune(s[i])); i++ {
			}
		}
		if depth == 0 {
			return i
		}
	}
}

const (
	// knownTexts is how many texts of properties are remembered with what they say: an experiment's exposures say few things.
	knownTexts = 1 << 12
	// oddTexts is how many texts DuckDB is asked about, one by one, before the statements are to do it all.
	oddTexts = 1 << 12
)

// errOdd says that too many properties have odd forms.
var errOdd = errors.New("too many properties that only DuckDB reads")

// properties read what exposures say.
type properties struct {
	conn  *vectors.Conn
	ctx   context.Context
	known map[string]exposure
	odd   int
}

// exposure is what the properties of an exposure or a contact say, but for its day and time.
func (u *unitSums) exposure(p *properties, text string) (exposure, error) {
	if e, ok := p.known[text]; ok {
		return e, nil
	}
	var a asked
	if !a.scan([]byte(text)) {
		if p.odd++; p.odd > oddTexts || strings.Contains(text, "\x00") {
			return exposure{}, errOdd
		}
		if err := a.ask(p, text); err != nil {
			return exposure{}, err
		}
	}
	e := exposure{mine: a.has[askedExperiment] && a.texts[askedExperiment] == u.r.p.Experiment, other: -1, variant: -1, scored: noDay}
	if a.has[askedVariant] {
		e.variant = int32(slices.Index(u.r.p.Variants, a.texts[askedVariant]))
		if u.r.first >= 0 && a.has[askedExperiment] {
			if e.other = int32(slices.Index(u.r.p.Others, a.texts[askedExperiment])); e.other >= 0 {
				e.met = u.others.of(a.texts[askedVariant])
			}
		}
	}
	if e.mine && u.r.p.Strata != nil {
		stratum, err := u.stratum(p, &a)
		if err != nil {
			return e, err
		}
		e.stratum = u.strata.of(stratum)
	}
	if day, ok := u.r.p.ScoreDays[a.texts[askedVersion]]; ok && a.has[askedVersion] {
		e.scored = int32(day)
	}
	if len(p.known) < knownTexts {
		p.known[strings.Clone(text)] = e
	}
	return e, nil
}

// stratum is MetricPlan.stratum of a revision.
func (u *unitSums) stratum(p *properties, a *asked) (string, error) {
	revision := int64(0)
	if text := a.texts[askedRevision]; a.has[askedRevision] {
		known := isWhole([]byte(text))
		if known {
			revision, _ = strconv.ParseInt(text, 10, 64)
		} else {
			var err error
			if revision, known, err = p.whole(text); err != nil {
				return "", err
			}
		}
		if s, ok := u.r.p.Strata[revision]; ok && known {
			return s, nil
		}
	}
	return fmt.Sprint("revision ", revision), nil
}

// query asks DuckDB for a row.
func (p *properties) query(sql string, row func(r *vectors.Rows)) error {
	r, err := p.conn.Query(p.ctx, sql)
	if err != nil {
		return err
	}
	defer r.Close()
	if more, err := r.Next(); err != nil || !more {
		return errors.Join(err, errOdd)
	}
	row(r)
	return nil
}

// whole is TRY_CAST(text AS BIGINT), 0 where it is NULL.
func (p *properties) whole(text string) (n int64, ok bool, err error) {
	err = p.query("SELECT TRY_CAST("+quoteText(text)+" AS BIGINT)", func(r *vectors.Rows) {
		if ok = r.Valid(0).Has(0); ok {
			n = vectors.Column[int64](r, 0)[0]
		}
	})
	return n, ok, err
}

// ask is scan by DuckDB.
func (a *asked) ask(p *properties, text string) error {
	*a = asked{}
	columns := make([]string, len(askedKeys))
	for i, key := range askedKeys {
		columns[i] = DuckDB.text("x", key)
	}
	return p.query("SELECT "+strings.Join(columns, ", ")+" FROM (SELECT "+quoteText(text)+" AS x)", func(r *vectors.Rows) {
		for i := range askedKeys {
			if a.has[i] = r.Valid(i).Has(0); a.has[i] {
				a.texts[i] = strings.Clone(r.Texts(i)[0].String())
			}
		}
	})
}
