// Package api is Perennial's HTTP surface on gin: assignments, events, OFREP, Unleash, Segment, the management endpoints with their OpenAPI
// document, sign-in and the embedded pages.
package api

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"perennial/experiments"
	"perennial/experiments/sqlstore"
	"perennial/features"
	"perennial/features/lake"
)

// Options is what the server stands on. Functions that return a pointer may return nil before the first snapshot is loaded.
type Options struct {
	Shop        features.Shop
	Now         func() time.Time
	Logger      *slog.Logger
	CORSOrigins []string
	Version     string // of the build

	Store    *sqlstore.Store
	Lake     *lake.Lake
	Snapshot func() *experiments.Snapshot // newest compiled definitions
	Reload   func(context.Context) error  // recompiles after a write, so that the writer's next request sees it
	Profiles func() *features.Profiles    // newest scores and features
	Upstream func(flag string) bool       // kill switches of an upstream Unleash; nil when none is configured

	Results func(ctx context.Context, key string, q ResultsQuery) (any, error) // CONTRACT §5 results document
	Look    func(ctx context.Context, key string) (any, error)                 // records a look
	Models  func(ctx context.Context) (any, error)                             // model cards
	Promote func(ctx context.Context, target, version string) (any, error)
	Runs    func(ctx context.Context) (any, error) // published score runs
	Nightly func(ctx context.Context, asOf string) (any, error)

	Web fs.FS // the built page (index.html at its root), or nil
}

// ResultsQuery narrows a results document.
type ResultsQuery struct {
	Segment string
	Metric  string
	Until   string
}

// Server is the handler and what it keeps in memory.
type Server struct{ o Options }

// New builds the server.
func New(o Options) (*Server, error) { panic("api: New") }

// Handler returns the root handler.
func (s *Server) Handler() http.Handler { panic("api: Handler") }
