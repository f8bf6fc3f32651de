package main

import "errors"

type keysCmd struct{}

// Run is being built.
func (keysCmd) Run(a *App) error { return errors.New("keys: being built") }
