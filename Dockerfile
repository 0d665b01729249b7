# Builds the gateway and puts it into an image with nothing beside it.
#
#   docker build --tag segel .
#   docker run --volume /srv/segel/etc:/etc/segel:ro --volume /srv/segel/data:/var/lib/segel --publish 25:25 segel

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Without the demo, as every package. rust-toolchain.toml is for those who change the program.
RUN rm -f rust-toolchain.toml \
    && cargo build --release --locked --no-default-features \
    && packaging/rootfs target/release/segel /image

FROM scratch
LABEL org.opencontainers.image.title="Segel" \
      org.opencontainers.image.description="S/MIME mail gateway: signs, verifies and quarantines mail as an SMTP relay" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.documentation="docs/install.md"
COPY --from=build /image /
USER 10025:10025
WORKDIR /var/lib/segel
# The configuration, read-only; mail, keys and audit log.
VOLUME ["/var/lib/segel"]
EXPOSE 25 10025
# Sessions and deliveries get 40 s to end: `docker stop --time 60`.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["/usr/bin/segel", "health"]
ENTRYPOINT ["/usr/bin/segel"]
CMD ["serve"]
