package main

import (
	"context"
	"fmt"

	"perennial/features"
	"perennial/features/lake"
	"perennial/models"
)

// alias is the document of a lake record of kind "alias", whose key is TARGET/NAME. The champion has a record of its own, with its past.
type alias struct {
	Version string `json:"version"`
	By      string `json:"by"`
	Reason  string `json:"reason,omitempty"`
}

// aliases returns what stands beside the champions: the challenger is the newest model that was judged and not promoted; a shadow scores
// every night beside the champion, and nobody is served by it.
func aliases(ctx context.Context, l *lake.Lake) (map[string]alias, error) {
	return records[alias](ctx, l, "alias")
}

// aliasOf returns the version that an alias points to, or "".
func aliasOf(ctx context.Context, l *lake.Lake, target models.Target, name string) (string, error) {
	all, err := aliases(ctx, l)
	return all[string(target)+"/"+name].Version, err
}

// setAlias points an alias to a registered version; version "" or "none" clears it.
func setAlias(ctx context.Context, l *lake.Lake, target models.Target, name, version, by, reason string) error {
	if version == "none" {
		version = ""
	}
	if version != "" {
		all, err := registeredModels(ctx, l)
		if err != nil {
			return err
		}
		if r, ok := all[version]; !ok || r.Card.Target != target {
			return &features.InvalidError{Field: "version", Reason: fmt.Sprintf("no %s model %q is registered", target, version)}
		}
	}
	return l.PutRecord(ctx, "alias", string(target)+"/"+name, alias{Version: version, By: by, Reason: reason})
}
