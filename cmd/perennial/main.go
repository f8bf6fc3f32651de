// Command perennial is the experimentation and scoring service: one binary for the server, the nightly batch and the analyst's shell.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// version is set by the linker.
var version = "dev"

// cli is every command and the flags that all of them share.
type cli struct {
	Data   string `help:"Data directory." default:"./data" env:"PERENNIAL_DATA" type:"path" placeholder:"DIR"`
	Config string `help:"Configuration file (YAML); ./perennial.yaml is read when it is there." env:"PERENNIAL_CONFIG" type:"path" placeholder:"FILE"`
	Memory string `help:"Budget of the analytic engine, such as 2GB; default from the configuration." placeholder:"SIZE"`
	JSON   bool   `name:"json" help:"Machine output: one JSON document on stdout." env:"PERENNIAL_JSON"`

	Demo       demoCmd       `cmd:"" help:"Load the shipped real shop data, train, score, experiment, serve; prints links that sign in."`
	Serve      serveCmd      `cmd:"" help:"Serve the API and the pages."`
	Init       initCmd       `cmd:"" help:"Write a commented perennial.yaml and make the data directory."`
	Import     importCmd     `cmd:"" help:"Load history from CSV, Parquet or NDJSON."`
	Export     exportCmd     `cmd:"" help:"Write events, features or scores."`
	Features   featuresCmd   `cmd:"" help:"Build the features of every user as of a date."`
	Train      trainCmd      `cmd:"" help:"Fit a model, judge it out of time, register it."`
	Score      scoreCmd      `cmd:"" help:"Score every user as of a date."`
	Why        whyCmd        `cmd:"" help:"Why a user's score moved: her features, or the model."`
	Changes    changesCmd    `cmd:"" help:"Who changed band or stage between nights."`
	Model      modelCmd      `cmd:"" help:"The registry: list, show, promote, roll back, shadow, import."`
	Lifecycle  lifecycleCmd  `cmd:"" help:"Stages over time, moves between them, retention, cohorts, and the money by channel."`
	Nightly    nightlyCmd    `cmd:"" help:"The whole night: seal, tiles, features, train, score, publish, experiments."`
	Analyze    analyzeCmd    `cmd:"" help:"Significance for any A/B table; needs no server."`
	Power      powerCmd      `cmd:"" help:"Sample size, smallest detectable effect, days."`
	Simulate   simulateCmd   `cmd:"" help:"Worlds with known truth against our own statistics."`
	Experiment experimentCmd `cmd:"" help:"Experiments from the shell."`
	Metrics    metricsCmd    `cmd:"" help:"The metrics of the shop: list, show, history, put."`
	Keys       keysCmd       `cmd:"" help:"API keys."`
	Servers    serversCmd    `cmd:"" help:"Several servers on one data directory: list, retire."`
	Doctor     doctorCmd     `cmd:"" help:"Check config, data, clock; name each fault and its remedy."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// App is what a command runs on.
type App struct {
	Data   string
	JSON   bool
	Config Config
	Given  string    // the --config file, or ""
	Out    io.Writer // results
	Err    io.Writer // progress and logs
	Log    *slog.Logger
}

// Now is the shop's clock: the wall clock, or the configured clock of a demo or simulation.
func (a *App) Now() time.Time {
	if !a.Config.Clock.IsZero() {
		return a.Config.Clock
	}
	return time.Now().UTC()
}

// Known is the instant up to which facts count in a result: now. A fixed clock stands still while the lake stamps each event a microsecond
// after the one before, so with one it is a minute later: enough for sixty million events.
func (a *App) Known() time.Time {
	if !a.Config.Clock.IsZero() {
		return a.Config.Clock.Add(time.Minute)
	}
	return a.Now()
}

// usageError is wrong usage: exit 2.
type usageError struct{ error }

// Unwrap gives the fault itself, whose field and reason a program may want.
func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process: it returns the exit code of CONTRACT §1. Commands end early when ctx does.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exit := -1
	parser, err := kong.New(&c, kong.Name("perennial"), kong.Description("Experiments and scores for teams that live from returning customers."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }), kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	k, err := parser.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		fmt.Fprintf(stderr, "perennial: %v\nSee `perennial --help`.\n", err)
		return 2
	}
	app := &App{Data: c.Data, JSON: c.JSON, Given: c.Config, Out: stdout, Err: stderr, Log: slog.New(slog.NewJSONHandler(stderr, nil))}
	if app.Config, err = loadConfig(configPath(c.Config, c.Data)); err == nil {
		if err = app.Config.override(c.Memory); err == nil {
			err = k.Run(app)
		}
	}
	if err == nil {
		return 0
	}
	report(app, err)
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	return 1
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(a *App) error {
	_, err := fmt.Fprintln(a.Out, version)
	return err
}
