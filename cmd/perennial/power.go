package main

import "errors"

type powerCmd struct{}

// Run is being built.
func (powerCmd) Run(a *App) error { return errors.New("power: being built") }
