module github.com/livenessd/livenessd

go 1.26
