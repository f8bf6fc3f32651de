package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"perennial/experiments"
)

// printAnalysis writes an analysis for a person at a terminal.
func printAnalysis(w io.Writer, doc *experiments.Analysis) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%d units from %d rows", doc.Source.Units, doc.Source.Rows)
	if doc.Source.RowsRejected > 0 {
		fmt.Fprintf(&b, ", %d rows rejected", doc.Source.RowsRejected)
	}
	if doc.Source.UnitsLeftOut > 0 {
		fmt.Fprintf(&b, ", %d units in two arms left out", doc.Source.UnitsLeftOut)
	}
	b.WriteString("\n")
	printArms(&b, doc)
	printResultRows(&b, doc)
	for _, h := range doc.Heterogeneity {
		larger := "not larger than chance"
		if float64(h.PAdjusted) < doc.Alpha {
			larger = "larger than chance"
		}
		fmt.Fprintf(&b, "%s of %s by %s: differences between groups are %s (p = %s)\n", h.Metric, h.Variant, h.Dimension, larger, short3(h.PAdjusted))
	}
	for _, x := range doc.Warnings {
		fmt.Fprintf(&b, "warning %s: %s\n", x.Code, x.Detail.EN)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printArms(b *strings.Builder, doc *experiments.Analysis) {
	for _, a := range doc.Arms {
		mark := ""
		if a.Variant == doc.Control {
			mark = " (control)"
		}
		fmt.Fprintf(b, "  %s%s: %d units, planned share %s\n", a.Variant, mark, a.Units, percent(a.PlannedShare))
	}
	fmt.Fprintf(b, "Split as planned: %s (SRM p = %s)\n\n", doc.SRM.Verdict, short3(doc.SRM.PValue))
}

func printResultRows(b *strings.Builder, doc *experiments.Analysis) {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	level := "interval " + percent(1-doc.Alpha)
	if doc.Inference != experiments.Fixed {
		level += " (" + doc.Inference + ")"
	}
	segments, notes, adjusted := false, false, false
	for _, r := range doc.Results {
		segments = segments || r.Segment != nil
		notes = notes || len(r.Warnings) > 0 || r.Reason != nil
		adjusted = adjusted || (r.PAdjusted.Known() && r.PAdjusted != r.PValue)
	}
	p := "p"
	if adjusted {
		p = "p (adjusted)"
	}
	cells := func(metric, variant, segment, control, treated, effect, interval, lift, liftInterval, p, verdict, note any) table.Row {
		row := table.Row{metric, variant}
		if segments {
			row = append(row, segment)
		}
		row = append(row, control, treated, effect, interval, lift, liftInterval, p, verdict)
		if notes {
			row = append(row, note)
		}
		return row
	}
	t.AppendHeader(cells("metric", "variant", "segment", "control", "treated", "effect", level, "lift", "lift interval", p, "verdict", ""))
	for _, r := range doc.Results {
		segment := ""
		if r.Segment != nil {
			segment = r.Segment.Dimension + "=" + r.Segment.Value
		}
		note := strings.Join(r.Warnings, " ")
		if r.Reason != nil {
			note = strings.TrimSpace(*r.Reason + " " + note)
		}
		t.AppendRow(cells(shownMetric(r), r.Variant, segment, digits(r.MeanControl), digits(r.Mean), signed(r.Effect), span(r.EffectLow, r.EffectHigh, digits),
			lift(r.RelEffect), span(r.RelLow, r.RelHigh, lift), short3(r.PAdjusted), experiments.VerdictText(doc.Verdict(r)).EN, note))
	}
	b.WriteString(t.Render())
	b.WriteString("\n")
	for _, r := range doc.Results {
		if r.Segment != nil {
			continue
		}
		for _, n := range r.Notes() {
			fmt.Fprintf(b, "%s, %s: %s\n", shownMetric(r), r.Variant, n.EN)
		}
	}
}

// shownMetric names a metric and, where one column may be asked several questions, its kind.
func shownMetric(r experiments.Result) string {
	if r.Kind == experiments.KindQuantile || r.Kind == experiments.KindRatio {
		return r.Metric + " (" + r.Kind + ")"
	}
	return r.Metric
}

// digits prints six significant digits, or a dash for what was not computed.
func digits(n experiments.Num) string {
	if !n.Known() {
		return "–"
	}
	return strconv.FormatFloat(float64(n), 'g', 6, 64)
}

func short3(n experiments.Num) string {
	if !n.Known() {
		return "–"
	}
	return strconv.FormatFloat(float64(n), 'g', 3, 64)
}

func signed(n experiments.Num) string {
	if n.Known() && n > 0 {
		return "+" + digits(n)
	}
	return digits(n)
}

func lift(n experiments.Num) string {
	if !n.Known() {
		return "–"
	}
	return fmt.Sprintf("%+.2f%%", 100*float64(n))
}

func span(low, high experiments.Num, show func(experiments.Num) string) string {
	if !low.Known() || !high.Known() {
		return "–"
	}
	return "[" + show(low) + ", " + show(high) + "]"
}

func percent(f float64) string {
	return strconv.FormatFloat(math.Round(f*1e6)/1e4, 'g', -1, 64) + "%"
}
