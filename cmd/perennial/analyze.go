package main

import "errors"

type analyzeCmd struct{}

// Run is being built.
func (analyzeCmd) Run(a *App) error { return errors.New("analyze: being built") }
