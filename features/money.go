package features

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Micros is an amount of money in 10⁻⁶ of the currency's major unit. Sums of Micros are exact and equal on every engine.
type Micros int64

// MicrosPerUnit is how many Micros one major unit (one yuan, one pound) has.
const MicrosPerUnit = 1_000_000

// Float64 returns the amount in major units.
func (m Micros) Float64() float64 { return float64(m) / MicrosPerUnit }

// String returns the amount in major units as the shortest decimal, such as "128.5" or "-0.042".
func (m Micros) String() string {
	sign, u := "", uint64(m)
	if m < 0 {
		sign, u = "-", uint64(-m)
	}
	whole, frac := u/MicrosPerUnit, u%MicrosPerUnit
	if frac == 0 {
		return sign + strconv.FormatUint(whole, 10)
	}
	return sign + strconv.FormatUint(whole, 10) + "." + strings.TrimRight(fmt.Sprintf("%06d", frac), "0")
}

// MicrosOf returns the Micros nearest to an amount in major units. It errs on NaN, infinities and amounts beyond ±9·10¹² units.
func MicrosOf(units float64) (Micros, error) {
	scaled := math.Round(units * MicrosPerUnit)
	if math.IsNaN(scaled) || math.Abs(scaled) > 9e18 {
		return 0, fmt.Errorf("amount %v is out of range", units)
	}
	return Micros(scaled), nil
}

// Amount is an optional sum of money. It is a JSON number in major units, or null.
type Amount struct {
	Micros Micros
	Valid  bool
}

// AmountOf returns a present amount.
func AmountOf(m Micros) Amount { return Amount{Micros: m, Valid: true} }

// MarshalJSON writes the amount in major units, or null.
func (a Amount) MarshalJSON() ([]byte, error) {
	if !a.Valid {
		return []byte("null"), nil
	}
	return []byte(a.Micros.String()), nil
}

// UnmarshalJSON reads a JSON number in major units, or null. A quoted number is refused.
func (a *Amount) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		*a = Amount{}
		return nil
	}
	m, err := ParseMicros(string(raw))
	if err != nil {
		return err
	}
	*a = AmountOf(m)
	return nil
}

// ParseMicros reads a decimal number in major units, such as "128.5" or "-1.2e3", exactly where it has at most six decimals
// and rounded half away from zero where it has more.
func ParseMicros(text string) (Micros, error) {
	if m, ok := parsePlain(text); ok {
		return m, nil
	}
	units, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.ContainsAny(text, "xXpP_") || strings.ContainsAny(text, "nN") {
		return 0, fmt.Errorf("%q is not a decimal number", clip(text))
	}
	return MicrosOf(units)
}

// parsePlain reads an optional sign, at most twelve digits and at most six decimals without rounding.
func parsePlain(text string) (Micros, bool) {
	i, negative := 0, false
	if i < len(text) && text[i] == '-' {
		i, negative = 1, true
	}
	var n int64
	from := i
	for i < len(text) && text[i]-'0' < 10 {
		n = n*10 + int64(text[i]-'0')
		if i++; i-from > 12 {
			return 0, false
		}
	}
	if i == from {
		return 0, false
	}
	decimals := 0
	if i < len(text) && text[i] == '.' {
		from = i + 1
		for i = from; i < len(text) && text[i]-'0' < 10; i++ {
			n = n*10 + int64(text[i]-'0')
			if decimals++; decimals > 6 {
				return 0, false
			}
		}
		if decimals == 0 {
			return 0, false
		}
	}
	if i != len(text) {
		return 0, false
	}
	for ; decimals < 6; decimals++ {
		n *= 10
	}
	if negative {
		n = -n
	}
	return Micros(n), true
}

func clip(text string) string {
	if len(text) > 40 {
		return text[:40] + "…"
	}
	return text
}
