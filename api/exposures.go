package api

import (
	"encoding/json"
	"net/http"
	"sort"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"perennial/experiments"
	"perennial/features"
	"perennial/features/lake"
)

// ExposureDoc is one exposure that an app reports after a bulk evaluation; Unleash's impression events are read as they are.
type ExposureDoc struct {
	UnitID      string         `json:"unit_id,omitempty"`
	Experiment  string         `json:"experiment,omitempty"`
	Variant     string         `json:"variant,omitempty" doc:"What the unit was shown"`
	FeatureName string         `json:"featureName,omitempty" doc:"Impression event: the experiment"`
	Context     map[string]any `json:"context,omitempty" doc:"Impression event: userId is the unit; properties are its attributes"`
	Attributes  map[string]any `json:"attributes,omitempty"`
}

// maxExposures is how many exposures one body may hold.
const maxExposures = 1000

// exposures is POST /v1/exposures: an exposure per unit, experiment and allocation revision, however often it is reported. The server answers for the unit
// itself, so that probability and revision are its own; a variant that it would not give now is rejected with its reason.
func (s *Server) exposures(c *gin.Context) {
	raw, err := readAll(c.Request, nil)
	if err != nil {
		s.fail(c, err)
		return
	}
	if p := valid(raw); p != nil {
		s.fail(c, p)
		return
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		list = []json.RawMessage{raw}
	}
	if len(list) > maxExposures {
		s.fail(c, problem(http.StatusRequestEntityTooLarge, "more than %d exposures: send several bodies", maxExposures))
		return
	}
	answer := EventsAnswer{Rejected: []features.Fault{}}
	for i, one := range list {
		known, err := s.exposeOne(c, one)
		switch {
		case err != nil:
			p := problemOf(err)
			if p.Status >= 500 {
				s.fail(c, err)
				return
			}
			f := features.Fault{Index: i, Field: "body", Reason: p.Detail}
			if len(p.Errors) > 0 {
				f.Field, f.Reason = p.Errors[0].Field, p.Errors[0].Reason
			}
			answer.Rejected = append(answer.Rejected, f)
		case known:
			answer.Duplicate++
		default:
			answer.Accepted++
		}
	}
	sort.SliceStable(answer.Rejected, func(i, j int) bool { return answer.Rejected[i].Index < answer.Rejected[j].Index })
	c.JSON(http.StatusAccepted, answer)
}

// exposeOne records one exposure; known is true when it was recorded before.
func (s *Server) exposeOne(c *gin.Context, raw json.RawMessage) (known bool, err error) {
	var in struct {
		UnitID      string          `json:"unit_id"`
		Experiment  string          `json:"experiment"`
		Variant     string          `json:"variant"`
		FeatureName string          `json:"featureName"`
		Attributes  json.RawMessage `json:"attributes"`
		Context     struct {
			UserID     string          `json:"userId"`
			Properties json.RawMessage `json:"properties"`
		} `json:"context"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return false, err
	}
	if in.Experiment == "" {
		in.Experiment = in.FeatureName
	}
	if in.UnitID == "" {
		in.UnitID, in.Attributes = in.Context.UserID, in.Context.Properties
	}
	if fault := unitFault(in.UnitID); fault != "" {
		return false, invalid("unit_id", "%s", fault)
	}
	a, p := s.newAsk(c.Request.Context())
	if p != nil {
		return false, p
	}
	defer a.free()
	if trimmed := strings.TrimSpace(string(in.Attributes)); strings.HasPrefix(trimmed, "{") {
		a.readSent(in.Attributes)
	}
	a.about(in.UnitID)
	if err := a.signed(c); err != nil {
		return false, err
	}
	a.asking = in.Experiment
	x := a.p.snap.Assign(&a.unit, in.Experiment)
	switch {
	case x.Reason == experiments.ReasonUnknown:
		return false, invalid("experiment", "is not known")
	case !x.Enrolled:
		return false, invalid("variant", "the unit is not enrolled: %s", x.Reason)
	case x.Variant != in.Variant:
		return false, invalid("variant", "the unit has another variant now")
	case x.Reason == experiments.ReasonForced:
		return true, nil // testers are left out of the analysis
	}
	if s.o.Lake.Exposed(in.UnitID, x.Experiment, x.AllocationRevision) {
		return true, nil
	}
	shown := a.exposed(x.Experiment, x.AllocationRevision)
	if err := s.o.Lake.Expose(c.Request.Context(), lake.Exposure{Unit: in.UnitID, By: a.by(x.Experiment), Experiment: x.Experiment, Variant: x.Variant, AllocationRevision: x.AllocationRevision,
		PAssign: x.PAssign, Policy: x.Policy(), ScoreVersion: a.scoreVersion(&x), At: a.unit.Now}, false); err != nil {
		s.count.exposureFailed.Inc()
		return false, err
	}
	if !shown {
		s.given(&x)
	}
	return false, nil
}

// appendProblem writes the problem of one line of a stream.
func appendProblem(b []byte, line int, p *Problem) []byte {
	raw, err := json.Marshal(p)
	if err != nil {
		return b
	}
	b = append(b, `{"line":`...)
	b = strconv.AppendInt(b, int64(line), 10)
	b = append(b, `,"error":`...)
	b = append(b, raw...)
	return append(b, '}')
}
