package main

import "errors"

type scoreCmd struct{}

// Run is being built.
func (scoreCmd) Run(a *App) error { return errors.New("score: being built") }
