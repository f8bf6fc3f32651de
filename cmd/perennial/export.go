package main

import "errors"

type exportCmd struct{}

// Run is being built.
func (exportCmd) Run(a *App) error { return errors.New("export: being built") }
