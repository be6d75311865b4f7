// How long an OCI image layout takes to be opened and read from through oras-go, the library behind oras.
//
// For each line on standard input, "DIRECTORY TAG", it opens the layout anew, resolves the tag, and reads the manifest
// and its first layer; it answers with the nanoseconds that took and the size of the layer.
package main

import (
	"bufio"
	"context"
	_ "crypto/sha256" // What digests are made with must be linked in.
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/oci"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		directory, tag, _ := strings.Cut(lines.Text(), " ")
		started := time.Now()
		size, err := readLayer(context.Background(), directory, tag)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(time.Since(started).Nanoseconds(), size)
	}
}

func readLayer(ctx context.Context, directory, tag string) (int, error) {
	store, err := oci.New(directory)
	if err != nil {
		return 0, err
	}
	root, err := store.Resolve(ctx, tag)
	if err != nil {
		return 0, err
	}
	bytes, err := content.FetchAll(ctx, store, root)
	if err != nil {
		return 0, err
	}
	var manifest ocispec.Manifest
	if err := json.Unmarshal(bytes, &manifest); err != nil {
		return 0, err
	}
	layer, err := content.FetchAll(ctx, store, manifest.Layers[0])
	return len(layer), err
}
