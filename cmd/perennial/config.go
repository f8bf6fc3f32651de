package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"

	"perennial/experiments"
	"perennial/features"
)

// shortestRetention leaves a year for the longest windows of the default catalog, and their label windows.
const shortestRetention = 400

var serverName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,30}$`)

// Config is perennial.yaml. Every key has a usable default; an unknown key is an error.
type Config struct {
	Timezone           string    `koanf:"timezone"`             // IANA name; default UTC
	Currency           string    `koanf:"currency"`             // ISO 4217; default CNY
	MarginRate         float64   `koanf:"margin_rate"`          // margin ÷ value where an order has no margin; default 0.3
	RefundMaturityDays int       `koanf:"refund_maturity_days"` // default 15
	Clock              time.Time `koanf:"clock"`                // fixed "now" for demos and simulations (RFC 3339); default the wall clock
	CORSOrigins        []string  `koanf:"cors_origins"`         // default ["*"]
	Promotion          string    `koanf:"promotion"`            // auto (default): a model that surely ranks better becomes champion; manual: a person decides
	Engine             string    `koanf:"engine"`               // duckdb (default), or trino: the cluster below computes features, labels, tiles and experiment summaries
	TrinoURL           string    `koanf:"trino_url"`            // http://user@coordinator:8080
	TrinoCatalog       string    `koanf:"trino_catalog"`        // a Hive catalog; default hive
	TrinoSchema        string    `koanf:"trino_schema"`         // of this data directory alone; default perennial
	TrinoLocation      string    `koanf:"trino_location"`       // the data directory as the workers name it; default local:///
	Memory             string    `koanf:"memory"`               // DuckDB's budget, such as "2GB"; default 1GB
	Database           string    `koanf:"database"`             // PostgreSQL URL of the control store; default SQLite in the data directory
	Server             string    `koanf:"server"`               // name of this server where several share the data directory and the database; default one server
	RetentionDays      int       `koanf:"retention_days"`       // events of older days are dropped by the night; 0 (default) keeps all
	PseudonymKey       string    `koanf:"pseudonym_key"`        // HMAC key; user ids are stored as pseudonyms when set
	UnitKey            string    `koanf:"unit_key"`             // HMAC key; when set, frontend keys may ask only about units that are signed with it
	UnleashURL         string    `koanf:"unleash_url"`          // upstream Unleash server whose flags are kill switches and splits
	UnleashToken       string    `koanf:"unleash_token"`
	WebhookURL         string    `koanf:"webhook_url"`    // where changes of band and stage are delivered
	WebhookSecret      string    `koanf:"webhook_secret"` // what they are signed with: whsec_BASE64
	Vocabulary         string    `koanf:"vocabulary"`     // the words for lifecycle stages: stages (default), growth, phases, operations, viral, purchase, funnel
	location           *time.Location
}

// Shop returns what dates and money mean here.
func (c Config) Shop() features.Shop {
	return features.Shop{Location: c.location, Currency: c.Currency, MarginRate: c.MarginRate, RefundMaturityDays: c.RefundMaturityDays, PseudonymKey: c.PseudonymKey}
}

// configPath returns the configuration file of a call: the one that was named, else the one in the data directory, which belongs to that
// data (a demo has its own clock and currency), else "" for ./perennial.yaml.
func configPath(named, data string) string {
	if named != "" {
		return named
	}
	inData := filepath.Join(data, "perennial.yaml")
	if _, err := os.Stat(inData); err == nil {
		return inData
	}
	return ""
}

// loadConfig reads the defaults, the file and the environment (PERENNIAL_TIMEZONE …), later ones winning.
func loadConfig(path string) (Config, error) {
	k := koanf.New(".")
	defaults := map[string]any{"timezone": "UTC", "currency": "CNY", "margin_rate": 0.3, "refund_maturity_days": 15, "clock": "",
		"cors_origins": []string{"*"}, "promotion": "auto", "engine": "duckdb", "trino_url": "", "trino_catalog": "hive", "trino_schema": "perennial", "trino_location": "local:///", "memory": "1GB", "database": "", "server": "", "retention_days": 0, "pseudonym_key": "", "unit_key": "", "unleash_url": "", "unleash_token": "", "webhook_url": "", "webhook_secret": "", "vocabulary": "stages"}
	if err := k.Load(confmap.Provider(defaults, "."), nil); err != nil {
		return Config{}, err
	}
	raw, err := os.ReadFile(orDefault(path, "perennial.yaml"))
	switch {
	case err == nil:
		var file map[string]any
		if err := yaml.Unmarshal(raw, &file); err != nil {
			return Config{}, usagef("config %s: %s", orDefault(path, "perennial.yaml"), yaml.FormatError(err, false, true))
		}
		for key := range file {
			if _, known := defaults[key]; !known {
				return Config{}, usagef("config %s: unknown key %q", orDefault(path, "perennial.yaml"), key)
			}
		}
		if err := k.Load(confmap.Provider(file, "."), nil); err != nil {
			return Config{}, err
		}
	case path != "" || !errors.Is(err, os.ErrNotExist):
		return Config{}, usagef("config: %v", err)
	}
	fromEnv := env.Provider(".", env.Opt{Prefix: "PERENNIAL_", TransformFunc: func(name, value string) (string, any) {
		key := strings.ToLower(strings.TrimPrefix(name, "PERENNIAL_"))
		if _, known := defaults[key]; !known {
			return "", nil
		}
		if key == "cors_origins" {
			return key, strings.Split(value, ",")
		}
		return key, value
	}})
	if err := k.Load(fromEnv, nil); err != nil {
		return Config{}, err
	}
	c := Config{Timezone: k.String("timezone"), Currency: k.String("currency"), MarginRate: k.Float64("margin_rate"),
		RefundMaturityDays: k.Int("refund_maturity_days"), CORSOrigins: k.Strings("cors_origins"), Promotion: k.String("promotion"), Memory: k.String("memory"),
		Engine: k.String("engine"), TrinoURL: k.String("trino_url"), TrinoCatalog: k.String("trino_catalog"), TrinoSchema: k.String("trino_schema"), TrinoLocation: k.String("trino_location"),
		Database: k.String("database"), Server: k.String("server"), RetentionDays: k.Int("retention_days"), PseudonymKey: k.String("pseudonym_key"), UnitKey: k.String("unit_key"), UnleashURL: k.String("unleash_url"), UnleashToken: k.String("unleash_token"),
		WebhookURL: k.String("webhook_url"), WebhookSecret: k.String("webhook_secret"), Vocabulary: k.String("vocabulary")}
	return c.check(k.Get("clock"))
}

// check refuses values that would mean something else than their author thought.
func (c Config) check(clock any) (Config, error) {
	var err error
	if c.location, err = time.LoadLocation(c.Timezone); err != nil {
		return c, usagef("config: timezone: %q is not an IANA time zone", c.Timezone)
	}
	if len(c.Currency) != 3 || strings.ToUpper(c.Currency) != c.Currency {
		return c, usagef("config: currency: %q is not an ISO 4217 code", c.Currency)
	}
	if c.Promotion != "auto" && c.Promotion != "manual" {
		return c, usagef("config: promotion: %q is neither auto nor manual", c.Promotion)
	}
	if n := len(c.PseudonymKey); n > 0 && n < 16 {
		return c, usagef("config: pseudonym_key: %d characters are guessed too soon; give at least 16", n)
	}
	if c.MarginRate < 0 || c.MarginRate > 1 {
		return c, usagef("config: margin_rate: %v is not within 0..1", c.MarginRate)
	}
	if c.RefundMaturityDays < 0 || c.RefundMaturityDays > 365 {
		return c, usagef("config: refund_maturity_days: %d is not within 0..365", c.RefundMaturityDays)
	}
	if _, err := parseBytes(c.Memory); err != nil {
		return c, usagef("config: memory: %v", err)
	}
	if c.RetentionDays != 0 && (c.RetentionDays < shortestRetention || c.RetentionDays > 36500) {
		return c, usagef("config: retention_days: %d is neither 0 (keep everything) nor within %d..36500", c.RetentionDays, shortestRetention)
	}
	switch {
	case c.Server != "" && !serverName.MatchString(c.Server):
		return c, usagef("config: server: %q is not a name of a-z, 0-9, _ and -", c.Server)
	case c.Server != "" && c.Database == "":
		return c, usagef("config: server: several servers need a database: that they share")
	}
	switch {
	case c.Engine != "duckdb" && c.Engine != "trino":
		return c, usagef("config: engine: %q is neither duckdb nor trino", c.Engine)
	case c.Engine == "trino" && c.TrinoURL == "":
		return c, usagef("config: trino_url: is needed by engine: trino, such as http://perennial@coordinator:8080")
	}
	if err := checkWebhook(c); err != nil {
		return c, err
	}
	if _, err := features.VocabularyOf(c.Vocabulary); err != nil {
		return c, usagef("config: %v", err)
	}
	switch t := clock.(type) {
	case time.Time:
		c.Clock = t.UTC()
	case string:
		if t != "" {
			if c.Clock, err = time.Parse(time.RFC3339, t); err != nil {
				return c, usagef("config: clock: %q is not RFC 3339", t)
			}
			c.Clock = c.Clock.UTC()
		}
	}
	return c, nil
}

// override applies --memory, which wins over environment and file.
func (c *Config) override(memory string) error {
	if memory == "" {
		return nil
	}
	if _, err := parseBytes(memory); err != nil {
		return usagef("memory: %v", err)
	}
	c.Memory = memory
	return nil
}

func orDefault(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

// report prints an error once: every field and reason on stderr, and the problem document on stdout with --json.
func report(a *App, err error) {
	type fault struct {
		Field  string `json:"field"`
		Reason string `json:"reason"`
	}
	var faults []fault
	var collect func(error)
	collect = func(err error) {
		switch e := err.(type) {
		case *experiments.InvalidError:
			for _, f := range e.Faults {
				faults = append(faults, fault{f.Field, f.Reason})
			}
		case *features.InvalidError:
			faults = append(faults, fault{e.Field, e.Reason})
		case interface{ Unwrap() []error }:
			for _, one := range e.Unwrap() {
				collect(one)
			}
		default:
			if inner := errors.Unwrap(err); inner != nil {
				collect(inner)
			}
		}
	}
	collect(err)
	fmt.Fprintf(a.Err, "perennial: %v\n", err)
	if a.JSON {
		doc := map[string]any{"type": "about:blank", "title": "failed", "detail": err.Error(), "errors": faults}
		json.NewEncoder(a.Out).Encode(doc)
	}
}
