package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"perennial/api"
	"perennial/features"
	"perennial/features/warehouse"
)

type lifecycleCmd struct {
	Stages       lifecycleStagesCmd       `cmd:"" help:"Customers by stage, day by day."`
	Transitions  lifecycleTransitionsCmd  `cmd:"" help:"How customers moved between the stages."`
	Retention    lifecycleRetentionCmd    `cmd:"" help:"Who came back on day n, and on day n or later."`
	Cohorts      lifecycleCohortsCmd      `cmd:"" help:"Retention by the period of the first day."`
	Economics    lifecycleEconomicsCmd    `cmd:"" help:"ARPU, repurchase, refunds, reactivation; CAC, LTV:CAC and payback by channel."`
	Vocabularies lifecycleVocabulariesCmd `cmd:"" help:"The presets of words for the seven stages."`
}

// Help shows examples.
func (lifecycleCmd) Help() string {
	return "Every number is of complete days, as known at the cut.\n\nExamples:\n  perennial lifecycle stages --vocabulary phases\n  perennial lifecycle retention --days 1,7,30\n" +
		"  perennial lifecycle cohorts --unit week --json\n  perennial import costs costs.csv && perennial lifecycle economics --horizon 180"
}

// lifecycleSpan are the flags of every question.
type lifecycleSpan struct {
	AsOf string `name:"as-of" placeholder:"DATE" help:"The cut. Default: after the last complete day."`
	From string `placeholder:"DATE" help:"First day."`
}

type lifecycleComeback struct {
	To       string `placeholder:"DATE" help:"The day after the last."`
	Born     string `enum:"order,any" default:"order" help:"What begins a user: order, or any activity."`
	Activity string `enum:"order,any" default:"any" help:"What counts as coming back: order, or any activity."`
}

// ask opens the lake, seals, and prints one answer as JSON or as people read it.
func ask[T any](ctx context.Context, a *App, q api.LifecycleQuery, of func(*lifecycle, context.Context, api.LifecycleQuery) (*T, error), show func(io.Writer, *T)) error {
	b, err := openBench(ctx, a)
	if err != nil {
		return err
	}
	defer b.close()
	doc, err := of(&lifecycle{a: a, lake: b.l, engine: func(context.Context) (*warehouse.Engine, error) { return b.e, nil }}, ctx, q)
	if err != nil {
		return err
	}
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(doc)
	}
	w := tabwriter.NewWriter(a.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	show(w, doc)
	return w.Flush()
}

type lifecycleStagesCmd struct {
	lifecycleSpan
	Step       int    `default:"1" help:"Days between two counts."`
	Vocabulary string `placeholder:"NAME" help:"The words for the stages; default the configured ones."`
}

// Run prints one line a day.
func (c lifecycleStagesCmd) Run(ctx context.Context, a *App) error {
	if c.Step < 1 || c.Step > 31 {
		return usageError{&features.InvalidError{Field: "step", Reason: fmt.Sprintf("%d is not within 1..31", c.Step)}}
	}
	return ask(ctx, a, api.LifecycleQuery{AsOf: c.AsOf, From: c.From, Step: c.Step, Vocabulary: c.Vocabulary}, (*lifecycle).Stages, func(w io.Writer, h *features.StageHistory) {
		fmt.Fprint(w, "date\tusers\t")
		for _, p := range h.Vocabulary.Phases {
			if !p.Goal {
				fmt.Fprintf(w, "%s %s\t", p.Label.ZH, p.Label.EN)
			}
		}
		fmt.Fprintln(w)
		for _, d := range h.Days {
			fmt.Fprintf(w, "%s\t%d\t", d.Date, d.Users)
			for _, p := range h.Vocabulary.Phases {
				if !p.Goal {
					fmt.Fprintf(w, "%d\t", d.Phases[p.Key])
				}
			}
			fmt.Fprintln(w)
		}
	})
}

type lifecycleTransitionsCmd struct {
	lifecycleSpan
	Vocabulary string `placeholder:"NAME" help:"The words for the stages; default the configured ones."`
}

// Run prints the matrix of all moves of the span.
func (c lifecycleTransitionsCmd) Run(ctx context.Context, a *App) error {
	return ask(ctx, a, api.LifecycleQuery{AsOf: c.AsOf, From: c.From, Vocabulary: c.Vocabulary}, (*lifecycle).Transitions, func(w io.Writer, t *features.Transitions) {
		fmt.Fprintf(w, "%s to %s\t", t.From, t.AsOf)
		for _, to := range features.Stages {
			fmt.Fprintf(w, "%s\t", to)
		}
		fmt.Fprintln(w)
		moves := map[[2]features.Stage]int64{}
		for _, m := range t.Sum {
			moves[[2]features.Stage{m.From, m.To}] = m.Users
		}
		for _, from := range features.Stages {
			fmt.Fprintf(w, "%s\t", from)
			for _, to := range features.Stages {
				if n := moves[[2]features.Stage{from, to}]; n > 0 {
					fmt.Fprintf(w, "%d\t", n)
				} else {
					fmt.Fprint(w, "·\t")
				}
			}
			fmt.Fprintln(w)
		}
	})
}

type lifecycleRetentionCmd struct {
	lifecycleSpan
	lifecycleComeback
	Days []int `sep:"," placeholder:"N" help:"Days after the first one; default 1,7,30."`
}

// Run prints both definitions side by side.
func (c lifecycleRetentionCmd) Run(ctx context.Context, a *App) error {
	q := api.LifecycleQuery{AsOf: c.AsOf, From: c.From, To: c.To, Born: c.Born, Activity: c.Activity, Days: c.Days}
	return ask(ctx, a, q, (*lifecycle).Retention, func(w io.Writer, r *features.Retention) {
		fmt.Fprintf(w, "%s to %s\tusers\ton the day\t\ton it or later\t\t\n", r.From, r.To)
		for _, p := range r.Points {
			note := ""
			if !p.Mature {
				note = "some have not lived so long"
			}
			fmt.Fprintf(w, "D%d\t%d\t%d\t%s\t%d\t%s\t%s\n", p.N, p.Users, p.Classic, shareText(p.Rate), p.Unbounded, shareText(p.RateLater), note)
		}
	})
}

type lifecycleCohortsCmd struct {
	lifecycleSpan
	lifecycleComeback
	Unit       string `enum:"day,week,month" default:"month" help:"Length of a period: day, week (7 days), month (30 days)."`
	Definition string `enum:"classic,unbounded" default:"classic" help:"Back in the period, or in it or later (unbounded)."`
}

// Run prints the heat map as numbers; ~ marks a period that is not over for everybody.
func (c lifecycleCohortsCmd) Run(ctx context.Context, a *App) error {
	q := api.LifecycleQuery{AsOf: c.AsOf, From: c.From, To: c.To, Born: c.Born, Activity: c.Activity, Unit: c.Unit, Definition: c.Definition}
	return ask(ctx, a, q, (*lifecycle).Cohorts, func(w io.Writer, h *features.Cohorts) {
		most := 0
		for _, row := range h.Cohorts {
			most = max(most, len(row.Cells))
		}
		fmt.Fprint(w, "cohort\tusers\t")
		for k := range most {
			fmt.Fprintf(w, "%s %d\t", h.Unit, k)
		}
		fmt.Fprintln(w)
		for _, row := range h.Cohorts {
			fmt.Fprintf(w, "%s\t%d\t", row.Start, row.Users)
			for k := range most {
				switch {
				case k >= len(row.Cells):
					fmt.Fprint(w, "\t")
				case row.Cells[k].Mature:
					fmt.Fprintf(w, "%s\t", shareText(row.Cells[k].Rate))
				default:
					fmt.Fprintf(w, "%s~\t", shareText(row.Cells[k].Rate))
				}
			}
			fmt.Fprintln(w)
		}
	})
}

type lifecycleEconomicsCmd struct {
	lifecycleSpan
	To      string `placeholder:"DATE" help:"The day after the last."`
	Horizon int    `default:"90" placeholder:"DAYS" help:"Days of margin that are held against the cost of a customer."`
}

// Run prints the shop's numbers, then the channels.
func (c lifecycleEconomicsCmd) Run(ctx context.Context, a *App) error {
	return ask(ctx, a, api.LifecycleQuery{AsOf: c.AsOf, From: c.From, To: c.To, Horizon: c.Horizon}, (*lifecycle).Economics, func(w io.Writer, e *features.Economics) {
		fmt.Fprintf(w, "%s to %s\tas of %s\t\n", e.From, e.To, e.AsOf)
		for _, line := range [][2]string{{"active users", fmt.Sprint(e.ActiveUsers)}, {"payers", fmt.Sprint(e.Payers)}, {"new customers", fmt.Sprint(e.NewCustomers)}, {"orders", fmt.Sprint(e.Orders)},
			{"revenue", amount(&e.Revenue)}, {"ARPU", amount(e.ARPU)}, {"ARPPU", amount(e.ARPPU)}, {"AOV", amount(e.AOV)}, {"repurchase rate", shareText(e.RepurchaseRate)},
			{"refund rate", shareText(e.RefundRate)}, {"refunded share", shareText(e.RefundShare)}, {"coupon rate", shareText(e.CouponRate)}, {"reactivation rate", shareText(e.Reactivation.Rate)}} {
			fmt.Fprintf(w, "%s\t%s\t\n", line[0], line[1])
		}
		for _, r := range e.RepeatWithin {
			fmt.Fprintf(w, "again within %d days\t%s\t\n", r.Days, shareText(r.Rate))
		}
		fmt.Fprintf(w, "\nfirst orders %s to %s\tcustomers\tmedia\tpromotion\tCAC\tLTV %d d\tLTV:CAC\tpayback\t\t\n", e.AcquiredFrom, e.AcquiredTo, e.LTVHorizonDays)
		for _, c := range e.Channels {
			payback := "–"
			if c.PaybackDays != nil {
				payback = fmt.Sprintf("%d d", *c.PaybackDays)
			}
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", orDefault(c.Channel, "(no channel)"), c.NewCustomers, amount(c.MediaCost), amount(&c.PromoCost), amount(c.CAC), amount(c.LTV), amount(c.LTVToCAC), payback,
				strings.ReplaceAll(c.Reason, "_", " "))
		}
	})
}

type lifecycleVocabulariesCmd struct{}

// Run lists the presets.
func (lifecycleVocabulariesCmd) Run(a *App) error {
	if a.JSON {
		return json.NewEncoder(a.Out).Encode(map[string]any{"vocabularies": features.Vocabularies})
	}
	for _, v := range features.Vocabularies {
		fmt.Fprintf(a.Out, "%s  %s / %s\n", v.Key, v.Label.ZH, v.Label.EN)
		for _, p := range v.Phases {
			stages := make([]string, len(p.Stages))
			for i, s := range p.Stages {
				stages[i] = string(s)
			}
			fmt.Fprintf(a.Out, "    %s / %s: %s\n", p.Label.ZH, p.Label.EN, orDefault(strings.Join(stages, ", "), "a goal of experiments, no stage"))
		}
	}
	return nil
}

// shareText and amount print what was computed, and a dash for what was not.
func shareText(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.1f%%", *x*100)
}

func amount(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f", *x)
}
