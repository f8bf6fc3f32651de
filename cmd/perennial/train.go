package main

import "errors"

type trainCmd struct{}

// Run is being built.
func (trainCmd) Run(a *App) error { return errors.New("train: being built") }
