package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"
	"github.com/gin-gonic/gin"

	"perennial/experiments"
)

// installErrors makes huma answer with our problems; huma keeps the constructor in a package variable.
var installErrors = sync.OnceFunc(func() { huma.NewError = humaError })

// humaRouter registers huma's operations behind our doorways.
type humaRouter struct{ s *Server }

// Handle is huma's way to register an operation.
func (r humaRouter) Handle(op *huma.Operation, h func(huma.Context)) {
	path := strings.NewReplacer("{", ":", "}", "").Replace(op.Path)
	who, _ := op.Metadata["roles"].(role)
	r.s.handle(op.Method, path, doorway{who: who, limit: op.MaxBodyBytes}, func(c *gin.Context) { h(humagin.NewContext(op, c)) })
}

// ServeHTTP serves the whole engine.
func (r humaRouter) ServeHTTP(w http.ResponseWriter, q *http.Request) { r.s.engine.ServeHTTP(w, q) }

// describe builds the API description that every documented door adds itself to.
func (s *Server) describe() {
	installErrors()
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	registry.RegisterTypeAlias(reflect.TypeFor[experiments.Text](), reflect.TypeFor[textDoc]())
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Perennial", Version: s.o.Version, Description: "Experiments and scores for teams that live from returning customers. " +
				"Money is a decimal number in major units, shares are fractions, times are RFC 3339, and what was not computed is null beside a reason."},
			Tags: []*huma.Tag{{Name: "assignment", Description: "What does this unit get?"}, {Name: "events", Description: "What happened."},
				{Name: "experiments", Description: "Definitions, their life, their results."}, {Name: "catalogue", Description: "Layers, holdouts, offers, metrics."},
				{Name: "customers", Description: "Scores, stages, profiles, refusal and erasure."}, {Name: "models", Description: "Model cards and jobs."},
				{Name: "administration", Description: "Keys, audit."}, {Name: "openfeature", Description: "OpenFeature Remote Evaluation Protocol 0.3."},
				{Name: "unleash", Description: "Unleash client and frontend API."}, {Name: "segment", Description: "Segment-compatible event doors."}, {Name: "operations", Description: "Health and metrics."}},
			Components: &huma.Components{Schemas: registry, SecuritySchemes: map[string]*huma.SecurityScheme{
				"bearer":  {Type: "http", Scheme: "bearer", Description: "An API key, made with `perennial keys create --role ROLE`."},
				"apiKey":  {Type: "apiKey", In: "header", Name: "X-API-Key", Description: "The same key for OFREP providers."},
				"session": {Type: "apiKey", In: "cookie", Name: sessionCookie, Description: "The browser's session; writes also need X-Requested-With: perennial."}}}},
		Formats:       map[string]huma.Format{"application/json": jsonFormat, "json": jsonFormat},
		DefaultFormat: "application/json",
	}
	s.huma = huma.NewAPI(config, humaRouter{s})
}

// jsonFormat is JSON without HTML escapes. For validation it drops null members, which mean absent at every door.
var jsonFormat = huma.Format{
	Marshal: huma.DefaultJSONFormat.Marshal,
	Unmarshal: func(data []byte, v any) error {
		if err := json.Unmarshal(data, v); err != nil {
			return err
		}
		if loose, ok := v.(*any); ok {
			dropNulls(*loose)
		}
		return nil
	},
}

func dropNulls(v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x == nil {
				delete(v, k)
				continue
			}
			dropNulls(x)
		}
	case []any:
		for _, x := range v {
			dropNulls(x)
		}
	}
}

// textDoc is experiments.Text in the description: {"zh","en"}, or one text for both.
type textDoc struct{}

// Schema says so to huma.
func (textDoc) Schema(huma.Registry) *huma.Schema {
	text := &huma.Schema{Type: huma.TypeString}
	return &huma.Schema{Description: "A text in Chinese and English; a plain string is accepted for both.", AnyOf: []*huma.Schema{text,
		{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"zh": text, "en": text}, AdditionalProperties: false}}}
}

// manageOp registers one management operation: its path, who may, and the handler whose types are its documentation.
func manageOp[I, O any](s *Server, who role, tag, method, path, id, summary string, h func(context.Context, *I) (*O, error), more ...func(*huma.Operation)) {
	op := huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag}, Metadata: map[string]any{"roles": who},
		Description: "Roles: " + who.names() + "."}
	op.Security = security(who)
	for _, f := range more {
		f(&op)
	}
	for _, schema := range []reflect.Type{reflect.TypeFor[I](), reflect.TypeFor[O]()} {
		relax(s.huma.OpenAPI().Components.Schemas, schema)
	}
	huma.Register(s.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if err != nil {
			p := problemOf(err)
			if p.cause != nil {
				s.log.Error("request failed", "operation", id, "error", p.cause)
			}
			return nil, p
		}
		return out, nil
	})
}

func security(who role) []map[string][]string {
	if who == anyone {
		return []map[string][]string{}
	}
	all := []map[string][]string{{"bearer": {}}, {"apiKey": {}}}
	if who&session != 0 {
		all = append(all, map[string][]string{"session": {}})
	}
	return all
}

// relax makes the fields of the domain's types optional in the description: the domain's own checks name a missing field better, and merge and defaults are theirs.
func relax(r huma.Registry, t reflect.Type) {
	if f, ok := t.FieldByName("Body"); ok && f.Type.Kind() != reflect.Func {
		r.Schema(f.Type, true, t.Name()+"Body")
	}
	for name, schema := range r.Map() {
		if from := r.TypeFromRef("#/components/schemas/" + name); from != nil && strings.HasPrefix(from.PkgPath(), "perennial/experiments") {
			schema.Required = nil
			schema.PrecomputeMessages()
		}
	}
}

// document adds a plain door to the description. in and out are nil, or values of the types that document the bodies.
func (s *Server) document(who role, tag, method, path, id, summary, detail string, status int, in, out any) {
	r := s.huma.OpenAPI().Components.Schemas
	op := &huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{tag}, Description: strings.TrimSpace(detail + " Roles: " + who.names() + "."), Security: security(who),
		Responses: map[string]*huma.Response{}}
	if who == anyone {
		op.Description = detail
	}
	for _, part := range strings.Split(path, "/") {
		if strings.HasPrefix(part, "{") {
			op.Parameters = append(op.Parameters, &huma.Param{Name: strings.Trim(part, "{}"), In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
	}
	if in != nil {
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: schemaOf(r, in)}}}
	}
	answer := &huma.Response{Description: http.StatusText(status)}
	if out != nil {
		answer.Content = map[string]*huma.MediaType{"application/json": {Schema: schemaOf(r, out)}}
	}
	op.Responses[strconv.Itoa(status)] = answer
	op.Responses["default"] = &huma.Response{Description: "Error", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: r.Schema(reflect.TypeFor[Problem](), true, "Problem")}}}
	s.huma.OpenAPI().AddOperation(op)
}

func schemaOf(r huma.Registry, v any) *huma.Schema {
	s := r.Schema(reflect.TypeOf(v), true, "")
	relax(r, reflect.TypeFor[struct{}]())
	return s
}

// OpenAPI returns the description as indented JSON with a last newline.
func (s *Server) OpenAPI() []byte {
	var out bytes.Buffer
	raw, err := json.Marshal(s.huma.OpenAPI())
	if err != nil {
		s.log.Error("openapi", "error", err)
		return nil
	}
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil
	}
	out.WriteByte('\n')
	return out.Bytes()
}
