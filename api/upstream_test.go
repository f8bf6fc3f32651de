package api_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"perennial/api"
	"perennial/experiments"
	"perennial/experiments/unleash"
	unleashflags "perennial/experiments/unleash/flags"
)

const upstreamFeatures = `{"version":2,"features":[
 {"name":"coupon","enabled":true,"impressionData":true,"strategies":[{"name":"flexibleRollout","parameters":{"rollout":"100","stickiness":"userId","groupId":"g"},
  "constraints":[{"contextName":"country","operator":"IN","values":["CN"]}],"variants":[{"name":"none","weight":500,"stickiness":"userId"},{"name":"100-20","weight":500,"stickiness":"userId","payload":{"type":"number","value":"20"}}]}]},
 {"name":"dark","enabled":true,"strategies":[{"name":"default"}]},
 {"name":"old","enabled":false,"strategies":[{"name":"default"}]}]}`

// withUpstream is a shop whose upstream server has said this.
func withUpstream(t *testing.T, features string) *shop {
	t.Helper()
	d, err := unleash.NewDocument([]byte(features))
	if err != nil {
		t.Fatal(err)
	}
	return newShop(t, func(o *api.Options) {
		o.Flags = func() *unleash.Document { return d }
		o.Watched = func() ([]unleash.Flag, string) {
			return []unleash.Flag{{Name: "coupon", Enabled: true, Variants: []string{"none", "100-20"}}}, "time-out"
		}
	})
}

// succeed is do for a request that must succeed.
func (s *shop) succeed(role, method, path, body string) answer {
	s.t.Helper()
	a := s.do(role, method, path, body)
	if a.status >= 300 {
		s.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	return a
}

// An experiment that an upstream flag splits gives what that flag gives, exposes its units, and takes the SDK's own impression events as exposures.
func TestUpstreamSplitIsAnalysed(t *testing.T) {
	s := withUpstream(t, upstreamFeatures)
	s.succeed("marketer", "POST", "/v1/experiments", `{"key":"coupon-test","name":"x","control":"none","upstream":"coupon","variants":[{"key":"none","weight":1},{"key":"100-20","weight":1}]}`)
	s.succeed("marketer", "POST", "/v1/experiments/coupon-test/start", "")
	d, err := unleashflags.Parse([]byte(upstreamFeatures))
	s.must(err)
	seen := map[string]int{}
	for i := range 60 {
		unit, country := fmt.Sprintf("u%d", i), []string{"CN", "DE"}[i%4/3]
		want := ""
		if r := d.Evaluate("coupon", &unleashflags.Context{UserID: unit, Properties: map[string]string{"country": country}}); r.Enabled {
			want = r.Variant.Name
		}
		body := fmt.Sprintf(`{"unit_id":%q,"attributes":{"country":%q},"experiments":["coupon-test"],"expose":false}`, unit, country)
		var got struct {
			Assignments []struct {
				Variant *string
				Reason  string
				PAssign *float64 `json:"p_assign"`
			}
		}
		s.must(json.Unmarshal([]byte(s.succeed("client", "POST", "/v1/assignments", body).body), &got))
		a := got.Assignments[0]
		if (a.Variant == nil) != (want == "") || a.Variant != nil && (*a.Variant != want || a.Reason != "split" || *a.PAssign != 0.5) || a.Variant == nil && a.Reason != "upstream_off" {
			t.Fatalf("%s of %s: %+v, the upstream says %q", unit, country, a, want)
		}
		seen[want]++
		if want == "" {
			continue
		}
		// What an Unleash SDK's impression listener hands over, as it is; twice is once.
		impression := fmt.Sprintf(`{"eventType":"getVariant","eventId":"0192f1c2-%d","featureName":"coupon-test","enabled":true,"variant":%q,"context":{"userId":%q,"appName":"shop","properties":{"country":"CN"}}}`, i, want, unit)
		for range 2 {
			s.succeed("client", "POST", "/v1/exposures", impression)
		}
		if !s.lake.Exposed(unit, "coupon-test", 1) {
			t.Errorf("%s is not exposed", unit)
		}
	}
	if seen["none"] < 10 || seen["100-20"] < 10 || seen[""] < 10 {
		t.Errorf("the units are too few of a kind: %v", seen)
	}
	if body := s.succeed("analyst", "GET", "/v1/upstream/flags", "").body; !strings.Contains(body, `"configured":true,"fault":"time-out","flags":[{"name":"coupon"`) {
		t.Errorf("upstream flags: %s", body)
	}
}

// A page that moves from the upstream to this server keeps its flags; an experiment of the same name takes a flag's place, and the ETag follows the upstream.
func TestFrontendAnswersUpstreamFlags(t *testing.T) {
	s := withUpstream(t, upstreamFeatures)
	const question = "/api/frontend?userId=u1&properties[country]=CN"
	answer := s.succeed("frontend", "GET", question, "")
	for _, part := range []string{`"name":"coupon","enabled":true,"impressionData":true`, `"name":"dark","enabled":true,"impressionData":false,"variant":{"name":"disabled","enabled":false,"feature_enabled":true`} {
		if !strings.Contains(answer.body, part) {
			t.Errorf("%s is not in %s", part, answer.body)
		}
	}
	if strings.Contains(answer.body, `"old"`) {
		t.Errorf("a flag that is off is listed: %s", answer.body)
	}
	tag := answer.header.Get("ETag")
	if again := s.do("frontend", "GET", question, "", "If-None-Match", tag); again.status != 304 {
		t.Errorf("the same question is answered %d, want 304", again.status)
	}
	s.succeed("marketer", "POST", "/v1/experiments", `{"key":"dark","name":"x","control":"a","variants":[{"key":"a","weight":1}]}`)
	s.succeed("marketer", "POST", "/v1/experiments/dark/start", "")
	if again := s.do("frontend", "GET", question, "", "If-None-Match", tag); again.status != 200 || !strings.Contains(again.body, `"variant":{"name":"a"`) || strings.Count(again.body, `"dark"`) != 1 {
		t.Errorf("after an experiment of a flag's name: %d %s", again.status, again.body)
	}
	other := withUpstream(t, strings.Replace(upstreamFeatures, `"weight":500`, `"weight":501`, 1))
	if other.succeed("frontend", "GET", question, "").header.Get("ETag") == withUpstream(t, upstreamFeatures).succeed("frontend", "GET", question, "").header.Get("ETag") {
		t.Error("the ETag does not follow the upstream's document")
	}
}

// The exploration slice over HTTP: the assignment and its exposure say so, and explain shows the slice.
func TestExplorationOverHTTP(t *testing.T) {
	s := newShop(t)
	s.succeed("marketer", "POST", "/v1/experiments", `{"key":"e","name":"x","salt":"salt-e","control":"a","exploration":{"share":0.5},"variants":[{"key":"a","weight":9},{"key":"b","weight":1}]}`)
	s.succeed("marketer", "POST", "/v1/experiments/e/start", "")
	for i := range 40 {
		unit := fmt.Sprintf("u%d", i)
		inside := experiments.Bucket(experiments.ExplorationSalt, unit) < 50_000
		body := s.succeed("client", "POST", "/v1/assignments", fmt.Sprintf(`{"unit_id":%q}`, unit)).body
		if strings.Contains(body, `"policy":"exploration"`) != inside || strings.Contains(body, `"p_assign":0.5`) != inside {
			t.Errorf("%s, in the slice %v: %s", unit, inside, body)
		}
		why := s.succeed("analyst", "POST", "/v1/assignments/explain", fmt.Sprintf(`{"unit_id":%q,"experiment":"e"}`, unit)).body
		if !strings.Contains(why, fmt.Sprintf(`"exploration":{"key":"exploration","bucket":%d,"held":%v}`, experiments.Bucket(experiments.ExplorationSalt, unit), inside)) {
			t.Errorf("explain of %s: %s", unit, why)
		}
	}
	if refused := s.do("marketer", "POST", "/v1/experiments", `{"key":"f","name":"x","salt":"perennial.exploration","control":"a","variants":[{"key":"a","weight":1}]}`); refused.status != 422 {
		t.Errorf("an experiment with the slice's salt: %d, want 422", refused.status)
	}
}
