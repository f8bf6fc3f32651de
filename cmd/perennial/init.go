package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// initConfig is the perennial.yaml that init writes: every key with its default, commented.
const initConfig = `# Perennial's configuration. A flag wins over the environment (PERENNIAL_TIMEZONE …), the environment over this file.
# An unknown key is an error. ` + "`perennial doctor`" + ` checks the whole.

# IANA time zone of the shop: it decides which day an event belongs to. Change it only before the first import.
timezone: UTC

# ISO 4217 reporting currency. An event without a currency has this one; an event in another one is rejected.
currency: CNY

# Margin as a fraction of (value + discount), for orders that carry no margin. Such profits are marked as estimated.
margin_rate: 0.3

# How many days after an outcome window refunds are still waited for.
refund_maturity_days: 15

# Who makes a new learner the champion: auto (the night does when it surely ranks better) or manual (a person does: perennial model promote).
promotion: auto

# The words in which reports show the seven lifecycle stages: stages, growth, phases, operations, viral, purchase, funnel.
# vocabulary: stages

# Browser origins that may call OFREP, /api/frontend and the Segment routes.
cors_origins: ["*"]

# DuckDB's memory budget. It may use up to two thirds more at its peak.
memory: 1GB

# What computes: duckdb, inside this process, or trino, a cluster that shares the data directory's storage (features/warehouse/README.md).
# engine: trino
# trino_url: http://perennial@coordinator:8080
# trino_catalog: hive
# trino_schema: perennial
# trino_location: local:///

# PostgreSQL URL of the control store, for several servers. Empty: SQLite in the data directory.
# database: postgres://perennial@db.example.com/perennial

# This server's name, where several serve one data directory (a shared file system) and one database. Each has a journal of its own in servers/NAME.
# server: one

# Events of days that are older than so many days are dropped by the night, with what is computed from them. Empty: everything is kept.
# retention_days: 760

# With a key, user ids are stored, logged and exported as their HMAC only.
# pseudonym_key: "a long random text, kept outside this file: PERENNIAL_PSEUDONYM_KEY"

# An upstream Unleash server whose flags switch experiments off (kill_switch of an experiment) or split them (upstream).
# unleash_url: https://unleash.example.com/api
# unleash_token: "kept outside this file: PERENNIAL_UNLEASH_TOKEN"

# Where changes of band and stage are delivered after each night, signed as Standard Webhooks says.
# webhook_url: https://automation.example.com/perennial
# webhook_secret: "whsec_ and 32 random bytes in base64, kept outside this file: PERENNIAL_WEBHOOK_SECRET"

# A fixed "now", for demos and simulations only.
# clock: 2011-12-10T12:00:00Z
`

type initCmd struct {
	Force bool `help:"Replace a perennial.yaml that is there."`
}

func (initCmd) Help() string {
	return `Writes a commented perennial.yaml into the working directory and makes the data directory.

Examples:
  perennial init
  perennial init --data /srv/perennial`
}

// Run writes ./perennial.yaml and makes the data directory with mode 0700. It refuses to replace a file unless forced.
func (c initCmd) Run(a *App) error {
	const name = "perennial.yaml"
	if _, err := os.Stat(name); err == nil && !c.Force {
		return usagef("%s is there already; edit it, or replace it with --force", name)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(a.Data, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := writeFile(name, []byte(initConfig)); err != nil {
		return err
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.Out, "wrote %s, data in %s\n\nNext:\n  perennial import events FILE --map user_id=COLUMN --map ts=COLUMN …\n  perennial nightly\n  perennial keys create --role admin\n  perennial serve\n", path, a.Data)
	return nil
}
