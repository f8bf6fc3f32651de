package main

import "errors"

type initCmd struct{}

// Run is being built.
func (initCmd) Run(a *App) error { return errors.New("init: being built") }
