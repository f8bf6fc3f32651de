package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"perennial/api"
	"perennial/experiments"
)

// one asks for one experiment of one unit.
func (s *shop) one(unit, experiment, more string) map[string]any {
	s.t.Helper()
	a := s.good("client", "POST", "/v1/assignments", `{"unit_id":"`+unit+`","experiments":["`+experiment+`"]`+more+`}`)
	return a["assignments"].([]any)[0].(map[string]any)
}

// TestAssignments walks the reasons of CONTRACT §5.
func TestAssignments(t *testing.T) {
	s := newShop(t)
	s.run("split", `{"salt":"s1","forced":{"qa":"b"},"allocation":[{"variant":"a","start":0,"end":30000},{"variant":"b","start":30000,"end":60000}]}`)
	s.run("gold", `{"salt":"s2","targeting":[{"attribute":"ltv_decile","operator":"NUM_GTE","values":["9"]}]}`)
	s.run("new", `{"salt":"s3","targeting":[{"attribute":"stage","operator":"IN","values":["prospect"]}]}`)
	s.run("over", "")
	s.good("marketer", "POST", "/v1/experiments/over/stop", "{}")
	s.good("marketer", "POST", "/v1/experiments", `{"key":"draft","name":"d","control":"a","variants":[{"key":"a","weight":1},{"key":"b","weight":1}]}`)
	s.score(map[string][3]any{"rich": {"loyal", 0.1, 10.0}, "poor": {"lapsed", 0.9, 1.0}})
	s.good("client", "POST", "/v1/users/shy/opt-out", "")
	in, out := "", ""
	for i := 0; in == "" || out == ""; i++ {
		u := fmt.Sprintf("u%d", i)
		if b := experiments.Bucket("s1", u); b < 60000 {
			in = u
		} else {
			out = u
		}
	}
	for _, c := range []struct {
		name, unit, experiment, more, reason string
		enrolled                             bool
	}{
		{"in", in, "split", "", "split", true}, {"out", out, "split", "", "not_enrolled", false}, {"forced", "qa", "split", "", "forced", true},
		{"opted out", "shy", "split", "", "opted_out", false}, {"stopped", in, "over", "", "stopped", false}, {"draft", in, "draft", "", "not_started", false},
		{"unknown", in, "nothing", "", "unknown_experiment", false}, {"rich", "rich", "gold", "", "split", true}, {"poor", "poor", "gold", "", "targeting", false},
		{"sent scores do not count", "nobody", "gold", `,"attributes":{"ltv_decile":10}`, "targeting", false}, {"unknown units are prospects", "nobody", "new", "", "split", true},
		{"known ones are not", "rich", "new", `,"attributes":{"stage":"prospect"}`, "targeting", false},
	} {
		a := s.one(c.unit, c.experiment, c.more)
		if a["reason"] != c.reason || a["enrolled"] != c.enrolled {
			t.Errorf("%s: %v, want reason %s", c.name, a, c.reason)
		}
		if (a["variant"] == nil) == c.enrolled || (a["p_assign"] == nil) == c.enrolled {
			t.Errorf("%s: variant %v and p_assign %v of enrolled %v", c.name, a["variant"], a["p_assign"], c.enrolled)
		}
		if payload, _ := a["payload"].(map[string]any); !c.enrolled && c.experiment != "nothing" && c.experiment != "draft" && payload["value"] != "show-a" {
			t.Errorf("%s: payload %v, want the control's", c.name, a["payload"])
		}
		if c.experiment == "nothing" && (a["payload"] != nil || a["allocation_revision"] != nil) {
			t.Errorf("%s: %v, want no payload and no revision", c.name, a)
		}
	}
	if a := s.one("rich", "gold", ""); a["score_version"] != "v-1" {
		t.Errorf("score_version = %v, want v-1", a["score_version"])
	}
}

// TestAnswerIsItsType compares the hand-written encoder with the type that documents it: the same fields, nothing else, and numbers as they were created.
func TestAnswerIsItsType(t *testing.T) {
	s := newShop(t)
	s.good("marketer", "POST", "/v1/offers", `{"key":"s100-20","kind":"spend_threshold","terms":{"threshold":100,"off":20},"rules":{"zh":"满100减20","en":"20 off 100"},"ends_at":"2026-12-31T00:00:00Z"}`)
	s.run("coupon", `{"salt":"s1","control":"a","variants":[{"key":"a","weight":1,"payload":{"type":"number","value":2.0}},{"key":"b.2","weight":1,"offer":"s100-20"}]}`)
	body := s.do("client", "POST", "/v1/assignments/batch", `{"units":[{"unit_id":"u1"},{"unit_id":"用户\"2"},{"unit_id":"u3"},{"unit_id":"u4"},{"unit_id":"u5"}],"experiments":["coupon","none"]}`)
	if body.status != 200 {
		t.Fatalf("%d %s", body.status, body.body)
	}
	var typed api.BatchAnswer
	dec := json.NewDecoder(bytes.NewReader([]byte(body.body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&typed); err != nil {
		t.Fatalf("%v: %s", err, body.body)
	}
	again, err := json.Marshal(typed)
	if err != nil {
		t.Fatal(err)
	}
	var x, y any
	if json.Unmarshal([]byte(body.body), &x) != nil || json.Unmarshal(again, &y) != nil || !reflect.DeepEqual(x, y) {
		t.Errorf("encoder wrote\n%s\nits type writes\n%s", body.body, again)
	}
	if !bytes.Contains([]byte(body.body), []byte(`"value":2.0}`)) {
		t.Errorf("2.0 has changed: %s", body.body)
	}
	if !bytes.Contains([]byte(body.body), []byte(`"rules_hash":"`)) {
		t.Errorf("no offer in %s", body.body)
	}
}

// TestExposure writes one exposure for a unit that met its variant, and none for a question.
func TestExposure(t *testing.T) {
	s := newShop(t)
	s.run("split", "")
	s.one("asked", "split", `,"expose":false`)
	s.one("met", "split", "")
	s.one("met", "split", "")
	s.one("waited", "split", `,"expose":"sync"`)
	s.good("client", "POST", "/v1/assignments/batch", `{"units":[{"unit_id":"listed"}]}`)
	e, _ := s.snapshot.Load().Experiment("split")
	for unit, want := range map[string]bool{"asked": false, "met": true, "waited": true, "listed": false} {
		if got := s.lake.Exposed(unit, "split", e.AllocationRevision); got != want {
			t.Errorf("exposed(%s) = %v, want %v", unit, got, want)
		}
	}
	if n := s.lake.Stats().Exposures + s.lake.Stats().WaitingViews; n != 2 {
		t.Errorf("%d exposures, want 2", n)
	}
}

// TestSticky keeps a promised variant when tonight's scores would take it away.
func TestSticky(t *testing.T) {
	s := newShop(t)
	s.run("gold", `{"salt":"s2","targeting":[{"attribute":"ltv_decile","operator":"NUM_GTE","values":["9"]}]}`)
	s.score(map[string][3]any{"rich": {"loyal", 0.1, 10.0}})
	first := s.one("rich", "gold", "")
	s.score(map[string][3]any{"rich": {"loyal", 0.1, 2.0}})
	then := s.one("rich", "gold", "")
	if first["reason"] != "split" || then["reason"] != "sticky" || then["variant"] != first["variant"] || then["p_assign"] != first["p_assign"] {
		t.Errorf("first %v, then %v: want the same variant with reason sticky", first, then)
	}
}

// TestToday adds today's orders to last night's scores within the request after their 202.
func TestToday(t *testing.T) {
	s := newShop(t)
	s.run("first", `{"sticky":false,"targeting":[{"attribute":"orders_today","operator":"NUM_EQ","values":["0"]}]}`)
	if a := s.one("u1", "first", ""); a["reason"] != "split" {
		t.Fatalf("before the order: %v", a)
	}
	s.good("client", "POST", "/v1/events", `[{"event_id":"e1","user_id":"u1","event":"Order Completed","ts":"2026-11-25T07:59:00Z","value":10,"order_id":"o1"}]`)
	a := s.good("client", "POST", "/v1/assignments", `{"unit_id":"u1","experiments":["first"]}`)
	if got := a["assignments"].([]any)[0].(map[string]any)["reason"]; got != "targeting" || a["overlay_at"] == nil {
		t.Errorf("after the order: %v", a)
	}
}

// TestRamp sends the ETag back and changes what is answered at once.
func TestRamp(t *testing.T) {
	s := newShop(t)
	s.run("ramp", `{"coverage":0.1}`)
	got := s.do("admin", "GET", "/v1/experiments/ramp", "")
	tag := got.header.Get("ETag")
	before := s.one("u", "ramp", "")["allocation_revision"].(float64)
	ramped := s.do("marketer", "POST", "/v1/experiments/ramp/ramp", `{"coverage":1}`, "If-Match", tag)
	if ramped.status != 200 || ramped.header.Get("ETag") == tag {
		t.Fatalf("ramp: %d, ETag %s after %s", ramped.status, ramped.header.Get("ETag"), tag)
	}
	if a := s.one("u", "ramp", ""); a["reason"] != "split" || a["allocation_revision"].(float64) <= before {
		t.Errorf("after the ramp: %v", a)
	}
	if late := s.do("marketer", "POST", "/v1/experiments/ramp/stop", "{}", "If-Match", tag); late.status != 412 {
		t.Errorf("stop with the old ETag: %d, want 412", late.status)
	}
}
