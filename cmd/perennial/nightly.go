package main

import "errors"

type nightlyCmd struct{}

// Run is being built.
func (nightlyCmd) Run(a *App) error { return errors.New("nightly: being built") }
