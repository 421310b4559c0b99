//go:build !linux

package doctor

func ownership(string) (Ownership, error) { return Ownership{}, errUnknown }
func space(string) (Space, error)         { return Space{}, errUnknown }
func synced() bool                        { return false }
