package main

import "errors"

type serveCmd struct{}

// Run is being built.
func (serveCmd) Run(a *App) error { return errors.New("serve: being built") }
