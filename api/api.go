// Package api is Perennial's HTTP surface on gin: assignments, events, OFREP, Unleash, Segment, the management endpoints with their OpenAPI
// document, sign-in and the embedded pages.
package api

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
	"perennial/experiments/unleash"
	"perennial/features"
	"perennial/features/lake"
)

// Options is what the server stands on. Functions that return a pointer may return nil before the first snapshot is loaded.
type Options struct {
	Shop        features.Shop
	Now         func() time.Time
	Simulated   bool // Now is a configured clock
	Logger      *slog.Logger
	CORSOrigins []string
	Version     string // of the build

	Store    *sqlstore.Store
	Lake     *lake.Lake
	Snapshot func() *experiments.Snapshot                // newest compiled definitions
	Reload   func(context.Context) error                 // recompiles after a write, so that the writer's next request sees it
	Profiles func() *features.Profiles                   // newest scores and features
	Upstream func(flag string) bool                      // kill switches of an upstream Unleash; nil when none is configured
	Flags    func() *unleash.Document                    // features of an upstream Unleash; nil when none is configured
	Watched  func() (flags []unleash.Flag, fault string) // what is known of that Unleash; nil when none is configured
	OfferOut func(offer string) bool                     // whether an offer's quota is used up; nil: none is
	Given    func(offer string)                          // counts a unit that was shown an offer with a quota for the first time
	Unready  func() string                               // why the server cannot take events yet; "" or nil when it can

	Results func(ctx context.Context, key string, q ResultsQuery) (any, error)           // CONTRACT §5 results document
	Look    func(ctx context.Context, key string) (any, error)                           // records a look
	Dataset func(ctx context.Context, key string, q ResultsQuery, w DatasetWriter) error // the rows behind the results
	Holdout func(ctx context.Context, key, from, until string, points int) (any, error)  // what everything was worth against a holdout
	Models  func(ctx context.Context) (any, error)                                       // model cards
	Promote func(ctx context.Context, target, version, by string) (any, error)
	Runs    func(ctx context.Context) (any, error)                                  // published score runs
	Why     func(ctx context.Context, user, target, from, to string) (any, error)   // why a user's score moved
	Changes func(ctx context.Context, since, cursor string, limit int) (any, error) // who changed band or stage
	Nightly func(ctx context.Context, asOf string) (any, error)
	Rescore func(ctx context.Context) error // loads the published scores again, after an erasure has rewritten them
	UnitKey []byte                          // when set, questions with a frontend key must carry the HMAC-SHA256 of their unit

	Lifecycle Lifecycle // customers over time; nil where there is none

	Web fs.FS // the built page (index.html at its root), or nil
}

// ResultsQuery narrows a results document.
type ResultsQuery struct {
	Segment string
	Metric  string
	Until   string
}

// Server is the handler and what it keeps in memory. It is safe for concurrent use.
type Server struct {
	o        Options
	log      *slog.Logger
	engine   *gin.Engine
	huma     huma.API
	openapi  []byte
	count    *counters
	cors     map[string]bool // nil: every origin
	access   map[string]role // "GET /v1/experiments" → who may
	keys     atomic.Pointer[keyring]
	optedOut atomic.Pointer[map[string]bool]
	plan     atomic.Pointer[plan]
	sorted   ordered
	specs    documents
	stages   counted
	hot      hotCounts
	jobs     jobs
}

// New builds the server and loads the keys. Call Refresh whenever the control store's version moves.
func New(o Options) (*Server, error) {
	if o.Store == nil || o.Lake == nil || o.Snapshot == nil {
		return nil, errors.New("api: Store, Lake and Snapshot are needed")
	}
	s := &Server{o: o, log: o.Logger, count: newCounters(), access: map[string]role{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.count.registry.MustRegister(lakeCollector{o.Lake})
	s.keys.Store(&keyring{})
	s.optedOut.Store(&map[string]bool{})
	if len(o.CORSOrigins) > 0 {
		s.cors = map[string]bool{}
		for _, origin := range o.CORSOrigins {
			s.cors[origin] = true
		}
		if s.cors["*"] {
			s.cors = nil
		}
	}
	s.route()
	return s, s.Refresh(context.Background())
}

// Refresh loads keys and refusals of personalisation again.
func (s *Server) Refresh(ctx context.Context) error {
	keys, err := s.o.Store.Keys(ctx)
	if err != nil {
		return err
	}
	out, err := s.o.Store.OptedOut(ctx)
	if err != nil {
		return err
	}
	s.keys.Store(newKeyring(keys, s.keys.Load()))
	s.optedOut.Store(&out)
	return nil
}

// Handler returns the root handler.
func (s *Server) Handler() http.Handler { return s.engine }

// reload makes the caller's next request see her write.
func (s *Server) reload(ctx context.Context) error {
	if s.o.Reload != nil {
		if err := s.o.Reload(ctx); err != nil {
			return err
		}
	}
	return s.Refresh(ctx)
}
