package main

import "errors"

type simulateCmd struct{}

// Run is being built.
func (simulateCmd) Run(a *App) error { return errors.New("simulate: being built") }
