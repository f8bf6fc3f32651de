//go:build unix

package main

import "syscall"

// lowerPriority makes a child yield the processor to requests.
func lowerPriority(pid int) {
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, 19)
}
