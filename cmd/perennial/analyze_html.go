package main

import (
	"os"

	"perennial/experiments"
)

// writeReport writes a self-contained HTML report of an analysis.
func writeReport(path string, doc *experiments.Analysis, file string) error {
	raw, err := experiments.Report(doc, file)
	if err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o644)
}
