package features

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// catalogFile is the YAML of a catalog.
type catalogFile struct {
	Version    int                    `yaml:"version"`
	Stage      *StageRules            `yaml:"stage"`
	Measures   map[string]measureSpec `yaml:"measures"`
	Features   []featureSpec          `yaml:"features"`
	Population string                 `yaml:"population"`
}

type measureSpec struct {
	Agg      Agg                 `yaml:"agg"`
	Event    any                 `yaml:"event"`
	Field    string              `yaml:"field"`
	Where    map[string][]string `yaml:"where"`
	Positive string              `yaml:"positive"`
	Has      string              `yaml:"has"`
	Lacks    string              `yaml:"lacks"`
}

type featureSpec struct {
	Name    string `yaml:"name"`
	Measure string `yaml:"measure"`
	Window  any    `yaml:"window"`
	Windows []any  `yaml:"windows"`
	Offset  int    `yaml:"offset"`
	Expr    string `yaml:"expr"`
	Stage   bool   `yaml:"stage"`
	Unit    string `yaml:"unit"`
	ZH      string `yaml:"zh"`
	EN      string `yaml:"en"`
	About   Label  `yaml:"about"`
	Hidden  bool   `yaml:"hidden"`
}

// loader compiles the default catalog and then, over it, the user's.
type loader struct {
	catalog  *Catalog
	measures map[string]*Measure
	stage    StageRules
	faults   []error

	file  *ast.File        // of the source that is being read, for positions
	where map[string]place // where a feature was declared
	pop   place
}

// place is where in which source something stands.
type place struct {
	file *ast.File
	path string // YAML path, such as $.features[3]
	name string // the path for people, such as features[3]
}

// ParseCatalog compiles the default catalog together with a user's own YAML, which adds measures and features, or replaces those of the same
// name, and may set stage rules and population; nil adds nothing. A fault is an *InvalidError per entry, joined, with line and column.
func ParseCatalog(own []byte) (*Catalog, error) {
	l := &loader{catalog: &Catalog{byName: map[string]int{}}, measures: map[string]*Measure{}, stage: DefaultStageRules(), where: map[string]place{}}
	if err := l.read(defaultCatalog); err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(own)) > 0 {
		if err := l.read(own); err != nil {
			return nil, err
		}
	}
	l.resolve()
	if err := errors.Join(l.faults...); err != nil {
		return nil, err
	}
	return l.catalog, nil
}

var position = regexp.MustCompile(`^\[(\d+):(\d+)\] `)

// read parses one source and declares what it holds.
func (l *loader) read(source []byte) error {
	var f catalogFile
	tree, err := parser.ParseBytes(source, 0)
	if err == nil {
		err = yaml.UnmarshalWithOptions(source, &f, yaml.Strict())
	}
	if err != nil {
		text := strings.TrimSpace(yaml.FormatError(err, false, false))
		reason := text
		if at := position.FindStringSubmatch(text); at != nil {
			reason = fmt.Sprintf("line %s, column %s: %s", at[1], at[2], strings.TrimPrefix(text, at[0]))
		}
		return &InvalidError{Field: "catalog", Reason: reason}
	}
	l.file = tree
	if f.Version != 1 {
		l.fault(place{tree, "$.version", "version"}, 0, "%d is not 1", f.Version)
	}
	if f.Stage != nil {
		l.setStage(*f.Stage)
	}
	names := make([]string, 0, len(f.Measures))
	for name := range f.Measures {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		l.declareMeasure(name, f.Measures[name])
	}
	for i, spec := range f.Features {
		l.declareFeature(spec, place{tree, fmt.Sprintf("$.features[%d]", i), fmt.Sprintf("features[%d]", i)})
	}
	if f.Population != "" {
		l.catalog.PopText, l.pop = f.Population, place{tree, "$.population", "population"}
	}
	return errors.Join(l.faults...)
}

// fault records a fault with the line and column of its node; column is added for a position inside an expression.
func (l *loader) fault(p place, column int, format string, args ...any) {
	reason := fmt.Sprintf(format, args...)
	if path, err := yaml.PathString(p.path); err == nil && p.file != nil {
		if node, err := path.FilterFile(p.file); err == nil && node != nil && node.GetToken() != nil {
			at := node.GetToken().Position
			if _, flow := node.(*ast.MappingNode); flow && node.GetToken().Prev != nil {
				at = node.GetToken().Position
			}
			quote := 0
			if strings.HasPrefix(strings.TrimSpace(node.GetToken().Origin), `"`) || strings.HasPrefix(strings.TrimSpace(node.GetToken().Origin), "'") {
				quote = 1
			}
			if column > 0 {
				column += quote - 1
			}
			reason = fmt.Sprintf("line %d, column %d: %s", at.Line, at.Column+column, reason)
		}
	}
	l.faults = append(l.faults, &InvalidError{Field: "catalog." + p.name, Reason: reason})
}

func (l *loader) setStage(r StageRules) {
	p := place{l.file, "$.stage", "stage"}
	if r.NewDays <= 0 || r.DecliningDays < r.NewDays || r.LapsedDays < r.DecliningDays || r.ReactivatedGapDays <= 0 || r.RhythmRatio <= 0 || r.RhythmOrders < 2 || r.LoyalOrders < 1 {
		l.fault(p, 0, "needs 0 < new_days ≤ declining_days ≤ lapsed_days, reactivated_gap_days > 0, rhythm_ratio > 0, rhythm_orders ≥ 2, loyal_orders ≥ 1, all of them given")
		return
	}
	l.stage = r
}

func (l *loader) declareMeasure(name string, spec measureSpec) {
	p := place{l.file, "$.measures." + name, "measures." + name}
	sub := func(key string) place { return place{p.file, p.path + "." + key, p.name + "." + key} }
	if !featureName.MatchString(name) {
		l.fault(p, 0, "a name has letters, digits and _ and begins with a letter")
		return
	}
	m := &Measure{Name: name, Agg: spec.Agg, Field: spec.Field, Where: spec.Where, Positive: spec.Positive, Has: spec.Has, Lacks: spec.Lacks}
	_, field, ok := spec.Agg.kind()
	switch {
	case !ok:
		l.fault(sub("agg"), 0, "%q is no aggregate: count, sum, min, max, first_time, last_time, days, distinct, top, first_day, last_day, previous_day, first_day_sum, gap_squares, longest_gap", spec.Agg)
	case field == "money" && !slices.Contains(MoneyFields, spec.Field):
		l.fault(sub("field"), 0, "%s needs a money field: %s", spec.Agg, strings.Join(MoneyFields, ", "))
	case field == "text" && !slices.Contains(TextFields, spec.Field):
		l.fault(sub("field"), 0, "%s needs a text field: %s", spec.Agg, strings.Join(TextFields, ", "))
	case field == "" && spec.Field != "":
		l.fault(sub("field"), 0, "%s takes no field", spec.Agg)
	}
	if spec.Positive != "" && !slices.Contains(MoneyFields, spec.Positive) {
		l.fault(sub("positive"), 0, "%q is no money field: %s", spec.Positive, strings.Join(MoneyFields, ", "))
	}
	for key, column := range map[string]string{"has": spec.Has, "lacks": spec.Lacks} {
		if column != "" && !slices.Contains(TextFields, column) {
			l.fault(sub(key), 0, "%q is no text field: %s", column, strings.Join(TextFields, ", "))
		}
	}
	for column := range spec.Where {
		if !slices.Contains(TextFields, column) {
			l.fault(sub("where"), 0, "%q is no text field: %s", column, strings.Join(TextFields, ", "))
		}
	}
	switch e := spec.Event.(type) {
	case nil:
	case string:
		m.Events = []string{e}
	case []any:
		for _, x := range e {
			s, ok := x.(string)
			if !ok || s == "" {
				l.fault(sub("event"), 0, "%v is no event name", x)
				continue
			}
			m.Events = append(m.Events, s)
		}
	default:
		l.fault(sub("event"), 0, "is a name or a list of names")
	}
	l.measures[name] = m
}

// declareFeature adds a feature, one per window, or replaces the one of that name in its place.
func (l *loader) declareFeature(spec featureSpec, p place) {
	at := func(key string) place { return place{p.file, p.path + "." + key, p.name + "." + key} }
	if !featureName.MatchString(spec.Name) || slices.Contains(reserved, spec.Name) {
		l.fault(at("name"), 0, "%q is no name: letters, digits and _, beginning with a letter, not user_id or as_of", spec.Name)
		return
	}
	f := Feature{Name: spec.Name, Unit: spec.Unit, Label: Label{spec.ZH, spec.EN}, About: spec.About, Hidden: spec.Hidden, Offset: spec.Offset}
	kinds := 0
	for _, given := range []bool{spec.Measure != "", spec.Expr != "", spec.Stage} {
		if given {
			kinds++
		}
	}
	if kinds != 1 {
		l.fault(p, 0, "%s needs exactly one of measure, expr and stage", spec.Name)
		return
	}
	if spec.Measure == "" {
		if spec.Window != nil || spec.Windows != nil || spec.Offset != 0 {
			l.fault(p, 0, "%s: window and offset belong to a measure", spec.Name)
			return
		}
		f.Text, f.Stage = spec.Expr, spec.Stage
		if f.Stage {
			f.Kind = KindText
		}
		l.put(f, p)
		return
	}
	m := l.measures[spec.Measure]
	if m == nil {
		names := make([]string, 0, len(l.measures))
		for n := range l.measures {
			names = append(names, n)
		}
		slices.Sort(names)
		l.fault(at("measure"), 0, "there is no measure %q%s", spec.Measure, near(spec.Measure, names))
		return
	}
	f.Measure = m
	f.Kind, _, _ = m.Agg.kind()
	if spec.Offset < 0 || spec.Offset > 36500 {
		l.fault(at("offset"), 0, "%d is not within 0..36500 days", spec.Offset)
		return
	}
	windows := spec.Windows
	switch {
	case spec.Window != nil && spec.Windows != nil || spec.Window == nil && len(spec.Windows) == 0:
		l.fault(p, 0, "%s needs either window or windows", spec.Name)
		return
	case spec.Window != nil:
		windows = []any{spec.Window}
	}
	for i, w := range windows {
		days, ok := windowDays(w)
		key := "window"
		if spec.Windows != nil {
			key = fmt.Sprintf("windows[%d]", i)
		}
		if !ok {
			l.fault(at(key), 0, "%v is neither a number of days within 1..36500 nor `all`", w)
			continue
		}
		if m.Agg.Ordered() && (days != 0 || spec.Offset != 0) {
			l.fault(at(key), 0, "%s looks at all time: its window is `all` without an offset", m.Agg)
			continue
		}
		one := f
		one.Days = days
		if spec.Windows != nil {
			one.Name, one.Label = windowName(spec.Name, days), f.Label.windowed(days)
		}
		l.put(one, p)
	}
}

// windowDays reads a window: days, or all as 0.
func windowDays(w any) (int, bool) {
	switch w := w.(type) {
	case string:
		return 0, w == "all"
	case uint64:
		return int(w), w >= 1 && w <= 36500
	case int64:
		return int(w), w >= 1 && w <= 36500
	case int:
		return w, w >= 1 && w <= 36500
	}
	return 0, false
}

func (l *loader) put(f Feature, p place) {
	for name := range l.catalog.byName { // engines fold the case of names
		if name != f.Name && strings.EqualFold(name, f.Name) {
			l.fault(p, 0, "%s differs from %s by case alone", f.Name, name)
			return
		}
	}
	if i, ok := l.catalog.byName[f.Name]; ok {
		if l.where[f.Name].file == p.file {
			l.fault(p, 0, "%s stands twice", f.Name)
			return
		}
		l.catalog.Features[i] = f
	} else {
		l.catalog.byName[f.Name] = len(l.catalog.Features)
		l.catalog.Features = append(l.catalog.Features, f)
	}
	l.where[f.Name] = p
}

// resolve parses every expression and gives it a kind, inner ones first.
func (l *loader) resolve() {
	l.catalog.Stage = l.stage
	state := map[string]int{} // 1: being resolved, 2: done
	var visit func(name string) bool
	visit = func(name string) bool {
		i := l.catalog.byName[name]
		f := &l.catalog.Features[i]
		if state[name] == 2 || f.Expr == nil && f.Text == "" {
			return true
		}
		if state[name] == 1 {
			return false
		}
		state[name] = 1
		defer func() { state[name] = 2 }()
		at := l.where[name]
		at.path, at.name = at.path+".expr", at.name+".expr"
		e, err := parseExpr(f.Text, func(ref string) (Kind, error) {
			j, ok := l.catalog.byName[ref]
			if !ok {
				return 0, fmt.Errorf("there is no feature %q%s", ref, near(ref, l.names()))
			}
			if !visit(ref) {
				return 0, fmt.Errorf("%s and %s stand on each other", name, ref)
			}
			return l.catalog.Features[j].Kind, nil
		})
		if err != nil {
			l.fault(at, err.column, "%s", err.reason)
			return true
		}
		f.Expr, f.Kind = e, e.Kind
		if e.Kind == KindTime || e.Kind == KindDay || e.Kind == KindBool || e.Kind == KindText {
			if !f.Hidden {
				l.fault(at, 0, "%s is %s, which no column can hold: use days_since, or if(…, 1, 0)", name, e.Kind)
			}
		}
		return true
	}
	for _, name := range l.names() {
		visit(name)
	}
	for i := range l.catalog.Features {
		f := &l.catalog.Features[i]
		if !f.Hidden && f.Measure != nil && (f.Kind == KindTime || f.Kind == KindDay) {
			l.fault(l.where[f.Name], 0, "%s is %s: hide it and use days_since(%s)", f.Name, f.Kind, f.Name)
		}
		if !f.Stage {
			continue
		}
		for _, need := range stageInputs {
			if i, ok := l.catalog.byName[need]; !ok || l.catalog.Features[i].Measure == nil {
				l.fault(l.where[f.Name], 0, "the stage needs the feature %s, with a measure", need)
			}
		}
	}
	if l.catalog.PopText == "" {
		return
	}
	e, err := parseExpr(l.catalog.PopText, func(ref string) (Kind, error) {
		i, ok := l.catalog.byName[ref]
		if !ok {
			return 0, fmt.Errorf("there is no feature %q%s", ref, near(ref, l.names()))
		}
		return l.catalog.Features[i].Kind, nil
	})
	switch {
	case err != nil:
		l.fault(l.pop, err.column, "%s", err.reason)
	case e.Kind != KindBool:
		l.fault(l.pop, 0, "is %s, not a condition such as orders_all > 0", e.Kind)
	default:
		l.catalog.Population = e
	}
}

func (l *loader) names() []string {
	names := make([]string, len(l.catalog.Features))
	for i := range l.catalog.Features {
		names[i] = l.catalog.Features[i].Name
	}
	return names
}
