# docker build -t atp .
# docker run --network host -v atp:/var/lib/atp -e ATP_DOMAIN=example.com atp
# The host's own network, because peers are judged by the address they come from. A certificate: mount a directory
# with it at /etc/atp and add -e ATP_CERT=/etc/atp/server.crt -e ATP_KEY=/etc/atp/server.key; user 65532 must be able to
# read it. Commands of the operator: docker exec <container> atp queue list

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release \
    && install -d -m 700 /state

# The C library, roots for the certificates of peers, and a user without rights; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/atp /usr/bin/atp
COPY --from=build --chown=65532:65532 /state /var/lib/atp
# Fewer arenas: memory that many threads have used and freed is not kept by each of them.
ENV ATP_HOME=/var/lib/atp MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=1048576
VOLUME /var/lib/atp
EXPOSE 7443
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/atp"]
CMD ["server", "start"]
