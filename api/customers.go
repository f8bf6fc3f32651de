package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"

	"perennial/features"
)

// stageOrder is how people read a lifecycle (DESIGN §4.5).
var stageOrder = []string{"prospect", "new", "active", "loyal", "declining", "lapsed", "reactivated"}

// scoreColumns are the columns of a profile that are scores; every other one is a feature.
var scoreColumns = map[string]bool{"churn_risk": true, "churn_decile": true, "ltv": true, "ltv_low": true, "ltv_high": true, "ltv_decile": true,
	"churn_low": true, "churn_high": true, "churn_percentile": true, "churn_stage_percentile": true, "ltv_percentile": true, "ltv_stage_percentile": true, "band": true,
	"churn_risk_shadow": true, "ltv_shadow": true,
	"reasons": true, "score_version": true, "churn_model": true, "ltv_model": true, "stage": true, "as_of": true, "user_id": true}

// unscored is the answer before the first night.
func unscored() *Problem {
	return problem(http.StatusNotFound, "nothing is scored yet: run `perennial nightly` (or `perennial train` and `perennial score`) first")
}

// number returns a numeric column of a row, or nil where it is missing.
func number(p *features.Profiles, row int32, column string) *float64 {
	v, _, isText, null, ok := p.At(row, column)
	if !ok || null || isText || math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func textAt(p *features.Profiles, row int32, column string) string {
	_, text, isText, null, ok := p.At(row, column)
	if !ok || null || !isText {
		return ""
	}
	return text
}

// reasonsOf returns the JSON array of reasons, or an empty one.
func reasonsOf(p *features.Profiles, row int32) json.RawMessage {
	if text := textAt(p, row, "reasons"); strings.HasPrefix(text, "[") && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return json.RawMessage("[]")
}

// ScoreRow is one user of a score list.
type ScoreRow struct {
	UserID      string          `json:"user_id"`
	Stage       string          `json:"stage"`
	ChurnRisk   *float64        `json:"churn_risk"`
	ChurnDecile *float64        `json:"churn_decile"`
	LTV         *float64        `json:"ltv"`
	LTVLow      *float64        `json:"ltv_low"`
	LTVHigh     *float64        `json:"ltv_high"`
	LTVDecile   *float64        `json:"ltv_decile"`
	Band        string          `json:"band" doc:"low, medium or high churn risk, by percentile; empty without a churn model"`
	ChurnLow    *float64        `json:"churn_low" doc:"90 % interval of the share who leave among users scored alike"`
	ChurnHigh   *float64        `json:"churn_high"`
	ChurnRank   *float64        `json:"churn_percentile" doc:"Share of users whose risk is no higher"`
	ChurnStage  *float64        `json:"churn_stage_percentile" doc:"The same within her stage"`
	LTVRank     *float64        `json:"ltv_percentile"`
	LTVStage    *float64        `json:"ltv_stage_percentile"`
	Reasons     json.RawMessage `json:"reasons"`
	RecencyDays *float64        `json:"recency_days"`
	OrdersAll   *float64        `json:"orders_all"`
	RevenueAll  *float64        `json:"revenue_all"`
}

func scoreRow(p *features.Profiles, user string, row int32) ScoreRow {
	n := func(c string) *float64 { return number(p, row, c) }
	return ScoreRow{UserID: user, Stage: textAt(p, row, "stage"), ChurnRisk: n("churn_risk"), ChurnDecile: n("churn_decile"), LTV: n("ltv"), LTVLow: n("ltv_low"),
		LTVHigh: n("ltv_high"), LTVDecile: n("ltv_decile"), Band: textAt(p, row, "band"),
		ChurnLow: n("churn_low"), ChurnHigh: n("churn_high"), ChurnRank: n("churn_percentile"), ChurnStage: n("churn_stage_percentile"), LTVRank: n("ltv_percentile"), LTVStage: n("ltv_stage_percentile"), Reasons: reasonsOf(p, row), RecencyDays: n("recency_days"), OrdersAll: n("orders_all"), RevenueAll: n("revenue_all")}
}

// ordered is the rows of one snapshot in the orders that lists ask for, each sorted once.
type ordered struct {
	mu    sync.Mutex
	of    *features.Profiles
	users []string
	by    map[string][]int32
}

// rows returns the rows of p by a sort key: user_id, or -COLUMN for the largest first, missing ones last, ties by user.
func (o *ordered) rows(p *features.Profiles, key string) []int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.of != p {
		o.of, o.users, o.by = p, p.Users(), map[string][]int32{}
	}
	if rows, ok := o.by[key]; ok {
		return rows
	}
	rows := make([]int32, 0, len(o.users))
	for _, u := range o.users {
		if row, ok := p.Row(u); ok {
			rows = append(rows, row)
		}
	}
	if column := strings.TrimPrefix(key, "-"); column != "user_id" {
		values := make(map[int32]float64, len(rows))
		for _, row := range rows {
			values[row] = math.Inf(-1)
			if v := number(p, row, column); v != nil {
				values[row] = *v
			}
		}
		sort.SliceStable(rows, func(i, j int) bool { return values[rows[i]] > values[rows[j]] })
	}
	o.by[key] = rows
	return rows
}

func cursorOf(version string, at int) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(at) + ":" + version))
}

// position reads a cursor. A cursor of other scores is refused: its place means nothing there.
func position(cursor, version string) (int, error) {
	if cursor == "" {
		return 0, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	at, of, found := strings.Cut(string(raw), ":")
	n, bad := strconv.Atoi(at)
	switch {
	case err != nil || !found || bad != nil || n < 0:
		return 0, invalid("cursor", "is not one of ours")
	case of != version:
		return 0, problem(http.StatusConflict, "the scores have changed since this list began: begin again without a cursor")
	}
	return n, nil
}

type scoresInput struct {
	Stage  string `query:"stage" maxLength:"64" doc:"Only this stage"`
	Q      string `query:"q" maxLength:"256" doc:"Only user ids that contain this text"`
	Sort   string `query:"sort" enum:"-ltv,-churn_risk,user_id" default:"user_id"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	Cursor string `query:"cursor" maxLength:"512"`
	AsOf   string `query:"as_of" maxLength:"10" doc:"Refused with 404 unless it is the date of the newest scores"`
}

type scoresAnswer struct {
	AsOf         string     `json:"as_of"`
	ScoreVersion string     `json:"score_version"`
	Total        int        `json:"total" doc:"Users that match, on all pages"`
	Scores       []ScoreRow `json:"scores"`
	NextCursor   *string    `json:"next_cursor" nullable:"true" doc:"null on the last page"`
}

func (s *Server) scores(_ context.Context, in *scoresInput) (*body[scoresAnswer], error) {
	p := s.profiles()
	if p == nil {
		return nil, unscored()
	}
	if in.AsOf != "" && in.AsOf != p.AsOf.String() {
		return nil, problem(http.StatusNotFound, "the newest scores are of %s: read others with `perennial export scores --as-of %.10s`", p.AsOf, in.AsOf)
	}
	from, err := position(in.Cursor, p.Version)
	if err != nil {
		return nil, err
	}
	answer := scoresAnswer{AsOf: p.AsOf.String(), ScoreVersion: p.Version, Scores: []ScoreRow{}}
	users := p.Users()
	for _, row := range s.sorted.rows(p, in.Sort) {
		user := users[row]
		if in.Stage != "" && textAt(p, row, "stage") != in.Stage || in.Q != "" && !strings.Contains(user, in.Q) {
			continue
		}
		if answer.Total >= from && answer.Total < from+in.Limit {
			answer.Scores = append(answer.Scores, scoreRow(p, user, row))
		}
		answer.Total++
	}
	if next := from + in.Limit; next < answer.Total {
		cursor := cursorOf(p.Version, next)
		answer.NextCursor = &cursor
	}
	return &body[scoresAnswer]{answer}, nil
}

// manageCustomers registers scores, lifecycle and profiles.
func (s *Server) manageCustomers() {
	const tag = "customers"
	manageOp(s, readers, tag, "GET", "/v1/scores", "list-scores", "Every user's scores, page by page", s.scores)
	manageOp(s, readers, tag, "GET", "/v1/lifecycle", "get-lifecycle", "Customers by stage and by decile", s.lifecycle)
	s.manageLifecycle()
	manageOp(s, readers, tag, "GET", "/v1/users/{id}", "get-user", "One customer: scores, reasons, features, assignments", s.user)
	s.manageConsent()
	s.manageQuarantine()
	manageOp(s, client|writers, tag, "POST", "/v1/users/{id}/opt-out", "opt-out", "Record a refusal of personalisation, or its withdrawal", func(ctx context.Context, in *struct {
		ID   string      `path:"id" maxLength:"512"`
		Body *optOutBody `required:"false"`
	}) (*body[optOutAnswer], error) {
		if fault := unitFault(in.ID); fault != "" {
			return nil, invalid("id", "%s", fault)
		}
		out := in.Body == nil || in.Body.OptedOut == nil || *in.Body.OptedOut
		if err := s.o.Store.OptOut(ctx, s.o.Shop.Pseudonym(in.ID), out); err != nil {
			return nil, err
		}
		return &body[optOutAnswer]{optOutAnswer{in.ID, out}}, s.Refresh(ctx)
	}, describe("From then on the unit is in no experiment and gets the control's payload, with reason opted_out."))
}

type optOutBody struct {
	OptedOut *bool `json:"opted_out,omitempty" doc:"true (default) or false"`
}

type optOutAnswer struct {
	UserID   string `json:"user_id"`
	OptedOut bool   `json:"opted_out"`
}
