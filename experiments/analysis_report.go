package experiments

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Report returns a self-contained HTML page of an analysis: verdicts, interval plots as inline SVG, warnings and notes, in Chinese and English by a
// switch that needs no script. It loads nothing from anywhere. name is what was analysed.
func Report(doc *Analysis, name string) ([]byte, error) {
	var b bytes.Buffer
	err := reportPage.Execute(&b, struct {
		*Analysis
		Name   string
		How    Text
		Split  Text
		Groups []reportGroup
	}{doc, name, inferenceText(doc.Inference), splitTexts[doc.SRM.Verdict], reportGroups(doc)})
	return b.Bytes(), err
}

var splitTexts = map[string]Text{"ok": {"相符", "yes"}, "warning": {"可疑", "doubtful"}, "fail": {"不符", "no"}, "unknown": {"没有可比的", "nothing to compare"}}

func inferenceText(inference string) Text {
	switch inference {
	case GST:
		return Text{"成组序贯（按计划的次数查看）", "group sequential (planned looks)"}
	case ConfSeq:
		return Text{"置信序列（可以随时查看）", "confidence sequence (any number of looks)"}
	}
	return Text{"固定样本（只看一次）", "fixed sample (one look)"}
}

// reportGroup is the results of one metric, drawn on one axis.
type reportGroup struct {
	Metric, Kind string
	Lower        bool
	Axis         template.HTML
	Rows         []reportRow
}

type reportRow struct {
	Result
	Plot       template.HTML
	Verdict    string
	Word       Text
	Lines      []Text
	Codes      string
	IsAdjusted bool
}

func reportGroups(doc *Analysis) []reportGroup {
	var groups []reportGroup
	at := map[string]int{}
	for _, r := range doc.Results {
		key := r.Metric + "\x00" + r.Kind
		i, ok := at[key]
		if !ok {
			i = len(groups)
			at[key] = i
			groups = append(groups, reportGroup{Metric: r.Metric, Kind: r.Kind, Lower: r.Direction == "down"})
		}
		verdict := doc.Verdict(r)
		row := reportRow{Result: r, Verdict: verdict, Word: VerdictText(verdict), Codes: strings.Join(r.Warnings, " "), IsAdjusted: r.PAdjusted.Known() && r.PAdjusted != r.PValue}
		if r.Segment == nil || r.Reason != nil {
			row.Lines = r.Notes()
		}
		groups[i].Rows = append(groups[i].Rows, row)
	}
	for g := range groups {
		low, high := 0.0, 0.0
		for _, r := range groups[g].Rows {
			if r.EffectLow.Known() && r.EffectHigh.Known() {
				low, high = math.Min(low, float64(r.EffectLow)), math.Max(high, float64(r.EffectHigh))
			}
		}
		groups[g].Axis = axisPlot(low, high)
		for i, r := range groups[g].Rows {
			groups[g].Rows[i].Plot = intervalPlot(r.Result, low, high, r.Verdict)
		}
	}
	return groups
}

const plotWidth, plotMargin = 320.0, 8.0

// across is where a value lies on the axis from low to high.
func across(v, low, high float64) string {
	return strconv.FormatFloat(plotMargin+(v-low)/(high-low)*(plotWidth-2*plotMargin), 'f', 1, 64)
}

// axisPlot writes the ends of the axis and 0.
func axisPlot(low, high float64) template.HTML {
	if !(high > low) {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %v 26" preserveAspectRatio="none" style="height:auto" aria-hidden="true"><g font-size="12" fill="#57606a">`, plotWidth)
	zero := -low / (high - low)
	if zero > 0.2 {
		fmt.Fprintf(&b, `<text x="%v" y="18">%s</text>`, plotMargin, showTick(low))
	}
	if zero < 0.8 {
		fmt.Fprintf(&b, `<text x="%v" y="18" text-anchor="end">%s</text>`, plotWidth-plotMargin, showTick(high))
	}
	anchor := "middle"
	if zero < 0.05 {
		anchor = "start"
	}
	if zero > 0.95 {
		anchor = "end"
	}
	fmt.Fprintf(&b, `<text x="%s" y="18" text-anchor="%s">0</text></g></svg>`, across(0, low, high), anchor)
	return template.HTML(b.String())
}

func showTick(v float64) string { return strconv.FormatFloat(v, 'g', 2, 64) }

// intervalPlot draws an interval on the axis from low to high; the title says it in words.
func intervalPlot(r Result, low, high float64, verdict string) template.HTML {
	if !(high > low) || !r.EffectLow.Known() || !r.EffectHigh.Known() {
		return "–"
	}
	color := map[string]string{"better": "#137333", "pass": "#137333", "worse": "#b3261e", "harm": "#b3261e"}[verdict]
	if color == "" {
		color = "#57606a"
	}
	x := func(v Num) string { return across(float64(v), low, high) }
	title := fmt.Sprintf("%s: %s, %s … %s", r.Variant, showNum(r.Effect), showNum(r.EffectLow), showNum(r.EffectHigh))
	return template.HTML(fmt.Sprintf(`<svg viewBox="0 0 %v 26" preserveAspectRatio="none" role="img"><title>%s</title><line x1="%s" y1="0" x2="%s" y2="26" stroke="#8c959f" stroke-dasharray="2 3" vector-effect="non-scaling-stroke"/>`+
		`<line x1="%s" y1="13" x2="%s" y2="13" stroke="%s" stroke-width="3" vector-effect="non-scaling-stroke"/><line x1="%s" y1="5" x2="%s" y2="21" stroke="%s" stroke-width="5" vector-effect="non-scaling-stroke"/></svg>`,
		plotWidth, template.HTMLEscapeString(title), x(0), x(0), x(r.EffectLow), x(r.EffectHigh), color, x(r.Effect), x(r.Effect), color))
}

func showNum(n Num) string {
	if !n.Known() {
		return "–"
	}
	return strconv.FormatFloat(float64(n), 'g', 5, 64)
}

//go:embed analysis_report.html
var reportText string

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"num": showNum,
	"p":   showP,
	"share": func(n Num) string {
		if !n.Known() {
			return "–"
		}
		return fmt.Sprintf("%+.2f %%", 100*float64(n))
	},
	"percent": func(f float64) string { return strconv.FormatFloat(math.Round(1e4*f)/100, 'g', -1, 64) + " %" },
}).Parse(reportText))
