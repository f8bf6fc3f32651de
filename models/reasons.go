package models

import (
	"cmp"
	"errors"
	"math"
	"regexp"
	"slices"
	"strconv"
)

// errNoReasons is returned by Explain of a model whose parts cannot say why.
var errNoReasons = errors.New("this model gives no reasons")

// explainRows bounds the memory of an explanation: so many rows at once.
const explainRows = 4096

// Explain returns the top k reasons of every user: features grouped by family, because collinear members of one family would show large
// effects that cancel. The member that moved most in the family's direction stands for it.
func Explain(m Model, f *Frame, k int, target Target) ([][]Reason, error) {
	c, ok := unwrap(m).(contributor)
	if !ok {
		return nil, errNoReasons
	}
	known := make([]word, len(f.Names))
	family := make([]int, len(f.Names))
	number := map[string]int{}
	for j, name := range f.Names {
		known[j] = describe(name)
		g, ok := number[known[j].family]
		if !ok {
			g = len(number)
			number[known[j].family] = g
		}
		family[j] = g
	}
	out := make([][]Reason, 0, len(f.Users))
	for lo := 0; lo < len(f.Users); lo += explainRows {
		part := f.Slice(lo, min(lo+explainRows, len(f.Users)))
		moved := make([]float64, len(part.Users)*len(f.Names))
		if err := c.contribute(part, moved); err != nil {
			return nil, err
		}
		for i := range part.Users {
			out = append(out, top(part, i, moved[i*len(f.Names):(i+1)*len(f.Names)], known, family, len(number), k, target))
		}
	}
	return out, nil
}

// top picks the k families that moved a row most.
func top(f *Frame, i int, moved []float64, known []word, family []int, families, k int, target Target) []Reason {
	total := make([]float64, families)
	for j, v := range moved {
		total[family[j]] += v
	}
	order := make([]int, families)
	for g := range order {
		order[g] = g
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(math.Abs(total[b]), math.Abs(total[a])) })
	reasons := []Reason{}
	for _, g := range order[:min(k, families)] {
		if total[g] == 0 {
			break
		}
		best := -1
		for j, v := range moved {
			if family[j] == g && v*total[g] > 0 && (best < 0 || math.Abs(v) > math.Abs(moved[best])) {
				best = j
			}
		}
		if best >= 0 {
			reasons = append(reasons, reason(f.Names[best], known[best], f.Values[best][i], total[g] > 0, target))
		}
	}
	return reasons
}

// windowed splits orders_90d into its base and its days.
var windowed = regexp.MustCompile(`^(.*)_(\d+)d$`)

// word is a feature's name for people. N stands for the days of the window.
type word struct{ family, zh, en string }

// words names the features of the default catalog.
var words = map[string]word{
	"recency_days":       {"activity", "距上次下单天数", "days since the last order"},
	"inactive_days":      {"activity", "不活跃天数", "days without any activity"},
	"recency":            {"rhythm", "首末单间隔天数", "days from first to last order"},
	"recency_ratio":      {"rhythm", "距上次下单 ÷ 平均下单间隔", "time since the last order ÷ usual gap"},
	"ipt_mean":           {"rhythm", "平均下单间隔天数", "usual days between orders"},
	"trend_90":           {"trend", "近 90 天订单变化", "order trend over 90 days"},
	"orders":             {"activity", "近 N 天订单数", "orders in the last N days"},
	"orders_all":         {"frequency", "累计订单数", "orders so far"},
	"frequency":          {"frequency", "复购天数", "repeat purchase days"},
	"active_days_30":     {"activity", "近 30 天活跃天数", "active days in the last 30"},
	"revenue":            {"activity", "近 N 天消费额", "spend in the last N days"},
	"revenue_all":        {"money", "累计消费额", "spend so far"},
	"aov_all":            {"basket", "平均客单价", "mean order value"},
	"max_order_all":      {"basket", "最大单笔金额", "largest order"},
	"monetary":           {"basket", "平均每次复购金额", "mean value of a repeat purchase"},
	"tenure_days":        {"tenure", "成为顾客的天数", "days as a customer"},
	"T":                  {"tenure", "首单至今天数", "days since the first order"},
	"refunds_all":        {"refunds", "累计退款额", "refunds so far"},
	"refund_share_all":   {"refunds", "退款占比", "share of spend refunded"},
	"discount_share_all": {"discount", "折扣占比", "share of discount"},
	"sessions":           {"activity", "近 N 天访问次数", "sessions in the last N days"},
}

// describe returns the words of a feature; one that the table does not know speaks for itself.
func describe(name string) word {
	if w, ok := words[name]; ok {
		return w
	}
	if m := windowed.FindStringSubmatch(name); m != nil {
		if w, ok := words[m[1]]; ok {
			fill := func(text string) string { return regexp.MustCompile("N").ReplaceAllString(text, m[2]) }
			return word{w.family, fill(w.zh), fill(w.en)}
		}
		return word{m[1], m[1] + "（近 " + m[2] + " 天）", m[1] + " in the last " + m[2] + " days"}
	}
	return word{name, name, name}
}

// reason puts one feature into words.
func reason(name string, w word, value float64, up bool, target Target) Reason {
	r := Reason{Feature: name, Direction: "down", Value: value}
	zh, en := "拉低", "lowers"
	if up {
		r.Direction, zh, en = "up", "推高", "raises"
	}
	subjectZH, subjectEN := "流失风险", "churn risk"
	if target == LTV {
		subjectZH, subjectEN = "预期价值", "expected value"
	}
	r.ZH = w.zh + " " + plain(value, "缺失") + "，" + zh + subjectZH
	r.EN = w.en + ": " + plain(value, "missing") + ", " + en + " " + subjectEN
	return r
}

// plain writes a number for a reader: at most two decimals.
func plain(v float64, missing string) string {
	if math.IsNaN(v) {
		return missing
	}
	return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64)
}
