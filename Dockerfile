# docker build -t atp .
# docker run --network host -v atp:/var/lib/atp -e ATP_DOMAIN=example.com atp
# The host's own network, because peers are judged by the address they come from. A certificate: mount a directory
# with it at /etc/atp and add -e ATP_CERT=/etc/atp/server.crt -e ATP_KEY=/etc/atp/server.key.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release

FROM debian:bookworm-slim
# Roots for the certificates of peers.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /var/lib/atp atp \
    && install -d -o atp -g atp -m 700 /var/lib/atp
COPY --from=build /src/target/release/atp /usr/local/bin/atp
USER atp
# Fewer arenas: memory that many threads have used and freed is not kept by each of them.
ENV ATP_HOME=/var/lib/atp MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=1048576
VOLUME /var/lib/atp
EXPOSE 7443
STOPSIGNAL SIGTERM
ENTRYPOINT ["atp"]
CMD ["server", "start"]
