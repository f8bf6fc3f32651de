package main

import "errors"

type demoCmd struct{}

// Run is being built.
func (demoCmd) Run(a *App) error { return errors.New("demo: being built") }
