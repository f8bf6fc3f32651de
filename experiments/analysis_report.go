package experiments

import (
	"bytes"
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Report returns a self-contained HTML page of an analysis: tables, interval plots as inline SVG, warnings in Chinese and English. It loads
// nothing from anywhere. name is what was analysed.
func Report(doc *Analysis, name string) ([]byte, error) {
	var b bytes.Buffer
	err := reportPage.Execute(&b, struct {
		*Analysis
		Name   string
		Groups []reportGroup
	}{doc, name, reportGroups(doc)})
	return b.Bytes(), err
}

// reportGroup is the results of one metric, drawn on one axis.
type reportGroup struct {
	Metric, Kind string
	Rows         []reportRow
}

type reportRow struct {
	Result
	Plot template.HTML
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
			groups = append(groups, reportGroup{Metric: r.Metric, Kind: r.Kind})
		}
		groups[i].Rows = append(groups[i].Rows, reportRow{Result: r})
	}
	for _, g := range groups {
		reach := 0.0
		for _, r := range g.Rows {
			for _, v := range []Num{r.EffectLow, r.EffectHigh} {
				if v.Known() {
					reach = math.Max(reach, math.Abs(float64(v)))
				}
			}
		}
		for i := range g.Rows {
			g.Rows[i].Plot = intervalPlot(g.Rows[i].Result, reach)
		}
	}
	return groups
}

// intervalPlot draws an interval on an axis from −reach to reach; the title says it in words.
func intervalPlot(r Result, reach float64) template.HTML {
	if reach == 0 || !r.EffectLow.Known() || !r.EffectHigh.Known() {
		return "–"
	}
	const w, h = 260.0, 22.0
	x := func(v Num) string { return strconv.FormatFloat(w/2+float64(v)/reach*(w/2-6), 'f', 1, 64) }
	color := "#666"
	switch better := r.Direction != "down"; {
	case (r.EffectLow > 0) == better && (r.EffectLow > 0 || r.EffectHigh < 0):
		color = "#137333"
	case r.EffectLow > 0 || r.EffectHigh < 0:
		color = "#b3261e"
	}
	title := fmt.Sprintf("%s: effect %s, interval %s to %s", r.Variant, showNum(r.Effect), showNum(r.EffectLow), showNum(r.EffectHigh))
	return template.HTML(fmt.Sprintf(`<svg width="%v" height="%v" role="img"><title>%s</title><line x1="%v" y1="0" x2="%v" y2="%v" stroke="#999" stroke-dasharray="2 2"/>`+
		`<line x1="%s" y1="11" x2="%s" y2="11" stroke="%s" stroke-width="3"/><circle cx="%s" cy="11" r="4.5" fill="%s"/></svg>`,
		w, h, template.HTMLEscapeString(title), w/2, w/2, h, x(r.EffectLow), x(r.EffectHigh), color, x(r.Effect), color))
}

func showNum(n Num) string {
	if !n.Known() {
		return "–"
	}
	return strconv.FormatFloat(float64(n), 'g', 5, 64)
}

var reportPage = template.Must(template.New("report").Funcs(template.FuncMap{
	"num": showNum,
	"p": func(n Num) string {
		if !n.Known() {
			return "–"
		}
		return strconv.FormatFloat(float64(n), 'g', 3, 64)
	},
	"share": func(n Num) string {
		if !n.Known() {
			return "–"
		}
		return fmt.Sprintf("%+.2f %%", 100*float64(n))
	},
	"percent": func(f float64) string { return strconv.FormatFloat(math.Round(1e4*f)/100, 'g', -1, 64) + " %" },
	"codes":   func(r reportRow) string { return strings.Join(r.Warnings, " ") },
}).Parse(`<!doctype html>
<html lang="zh"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>A/B · {{.Name}}</title>
<style>
body{font:15px/1.5 system-ui,"PingFang SC","Microsoft YaHei",sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#1f2328}
table{border-collapse:collapse;width:100%;margin:.5em 0 1.5em;display:block;overflow-x:auto}th,td{border-bottom:1px solid #ddd;padding:.35em .6em;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}th{color:#555;font-weight:600}.warn{background:#fff4ce;padding:.5em .8em;margin:.4em 0;border-left:4px solid #b58900}
.fail{border-left-color:#b3261e;background:#fde7e9}small{color:#555}
</style></head><body>
<h1>A/B 分析 · A/B analysis</h1>
<p><b>{{.Name}}</b><br><small>{{.Source.Units}} 个用户 units · {{.Source.Rows}} 行 rows{{if .Source.RowsRejected}} · {{.Source.RowsRejected}} 行无法读取 rejected{{end}}{{if .Source.UnitsLeftOut}} · {{.Source.UnitsLeftOut}} 个用户跨组，已去掉 units in two arms left out{{end}} · α = {{.Alpha}} · {{.Inference}}</small></p>
<h2>分组 · Arms</h2>
<table><tr><th>组 variant</th><th>用户 units</th><th>计划比例 planned share</th></tr>
{{range .Arms}}<tr><td>{{.Variant}}{{if eq .Variant $.Control}} <small>对照 control</small>{{end}}</td><td>{{.Units}}</td><td>{{percent .PlannedShare}}</td></tr>{{end}}</table>
<p>样本比例 SRM: <b>{{.SRM.Verdict}}</b> (χ² = {{num .SRM.Statistic}}, p = {{p .SRM.PValue}})</p>
{{range .Warnings}}<div class="warn{{if eq .Code "srm"}} fail{{end}}"><b>{{.Code}}</b> {{.Detail.ZH}} <br>{{.Detail.EN}}</div>{{end}}
{{range .Groups}}<h2>{{.Metric}} <small>{{.Kind}}</small></h2>
<table><tr><th>组 variant</th><th>分群 segment</th><th>n</th><th>对照 control</th><th>实验 treated</th><th>差 effect</th><th></th><th>区间 interval</th><th>提升 lift</th><th>提升区间 interval</th><th>p</th><th></th></tr>
{{range .Rows}}<tr><td>{{.Variant}}</td><td>{{with .Segment}}{{.Dimension}} = {{.Value}}{{end}}</td><td>{{.N}} / {{.NControl}}</td><td>{{num .MeanControl}}</td><td>{{num .Mean}}</td><td>{{num .Effect}}</td><td>{{.Plot}}</td><td>{{num .EffectLow}} … {{num .EffectHigh}}</td><td>{{share .RelEffect}}</td><td>{{share .RelLow}} … {{share .RelHigh}}</td><td>{{p .PAdjusted}}</td><td><small>{{with .Reason}}{{.}} {{end}}{{codes .}}</small></td></tr>{{end}}</table>{{end}}
{{if .Heterogeneity}}<h2>各群效果是否不同 · Do effects differ between groups?</h2>
<table><tr><th>指标 metric</th><th>组 variant</th><th>维度 dimension</th><th>Q</th><th>df</th><th>p (Holm)</th></tr>
{{range .Heterogeneity}}<tr><td>{{.Metric}}</td><td>{{.Variant}}</td><td>{{.Dimension}}</td><td>{{num .Statistic}}</td><td>{{num .DF}}</td><td>{{p .PAdjusted}}</td></tr>{{end}}</table>{{end}}
<p><small>Perennial · 区间和 p 值都是当前查看时点有效的；提升区间用 Fieller 法。Intervals and p-values are valid at this look; lift intervals are Fieller's.</small></p>
</body></html>
`))
