package main

import (
	"os"
	"path/filepath"

	"perennial/experiments"
)

// writeReport writes a self-contained HTML report of an analysis.
func writeReport(path string, doc *experiments.Analysis, file string) error {
	raw, err := experiments.Report(doc, filepath.Base(file))
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o644)
}
