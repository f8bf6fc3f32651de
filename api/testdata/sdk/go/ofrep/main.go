// ofrep is OpenFeature's Go SDK with its OFREP provider: one POST an evaluation.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/open-feature/go-sdk-contrib/providers/ofrep"
	"github.com/open-feature/go-sdk/openfeature"

	"perennial-sdk/world"
)

var defaults = map[string]any{"string": "code default", "number": -7.5, "boolean": false, "json": map[string]any{"code": "default"}}

// evaluate asks for the type that an app would ask for.
func evaluate(c *openfeature.Client, kind, key string, ec openfeature.EvaluationContext) (value any, d openfeature.EvaluationDetails) {
	ctx := context.Background()
	switch kind {
	case "number":
		x, _ := c.FloatValueDetails(ctx, key, defaults[kind].(float64), ec)
		return x.Value, x.EvaluationDetails
	case "boolean":
		x, _ := c.BooleanValueDetails(ctx, key, defaults[kind].(bool), ec)
		return x.Value, x.EvaluationDetails
	case "json":
		x, _ := c.ObjectValueDetails(ctx, key, defaults[kind], ec)
		return x.Value, x.EvaluationDetails
	}
	x, _ := c.StringValueDetails(ctx, key, defaults[kind].(string), ec)
	return x.Value, x.EvaluationDetails
}

func main() {
	w, t, base := world.Load(), &world.Tally{}, os.Getenv("BASE_URL")
	for name, key := range map[string]string{"app": os.Getenv("CLIENT_KEY"), "stranger": "wrong"} {
		if err := openfeature.SetNamedProviderAndWait(name, ofrep.NewProvider(base, ofrep.WithBearerToken(key))); err != nil {
			panic(err)
		}
	}
	c := openfeature.NewClient("app")
	for _, e := range w.Experiments {
		for _, u := range w.Units {
			want := e.Expected(u)
			value, d := evaluate(c, e.Kind, e.Key, openfeature.NewEvaluationContext(u.ID, u.Attributes))
			ok := d.Variant == want && d.Reason == openfeature.SplitReason && e.Same(want, value)
			if want == "" { // a flag that is off has the code's default in this SDK, whatever its value says
				off := d.Reason == openfeature.DisabledReason && e.Status == "stopped"
				ok = d.Variant == "not_enrolled" && (off || d.Reason == openfeature.DefaultReason && e.Same(e.Control, value))
			}
			t.Check(fmt.Sprintf("%s of %q, want %q", e.Key, u.ID, want), ok && d.ErrorCode == "", d)
		}
	}
	unit := openfeature.NewEvaluationContext("u", nil)
	_, d := evaluate(c, "string", "none", unit)
	t.Check("an unknown flag", d.ErrorCode == openfeature.FlagNotFoundCode, d)
	_, d = evaluate(c, "string", "halves", openfeature.NewEvaluationContext("", nil))
	t.Check("no unit", d.ErrorCode == openfeature.TargetingKeyMissingCode, d)
	_, d = evaluate(openfeature.NewClient("stranger"), "string", "halves", unit)
	t.Check("a wrong key", d.ErrorCode == openfeature.GeneralCode, d)
	_, d = evaluate(c, "string", "halves", openfeature.NewEvaluationContext("u", map[string]any{"when": time.Unix(0, 0), "list": []any{1, "a"}, "deep": map[string]any{"x": nil}}))
	t.Check("times, lists and objects in the context", d.ErrorCode == "", d)
	t.Finish()
}
