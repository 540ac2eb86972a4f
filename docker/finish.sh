#!/bin/sh
# The last step of a builder: the project, compiled, with its command and a list of all that is in the
# image; then the tools that put it there are taken away.
set -eu
cd /srv/catbreeds
echo /srv/catbreeds >"$(python -c 'import site; print(site.getsitepackages()[0])')/catbreeds.pth"
# Processes that it spawns import it under another name.
cat >/opt/venv/bin/catbreeds <<'END'
#!/opt/venv/bin/python
from serving.cli import main

if __name__ == "__main__":
    main()
END
chmod 755 /opt/venv/bin/catbreeds
python -m compileall -q /srv/catbreeds
mkdir sbom
/opt/sbom/bin/cyclonedx-py environment --output-format JSON --output-file sbom/python.cdx.json \
    /opt/venv/bin/python
dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' >sbom/debian.txt
pip uninstall --yes pip
rm docker/finish.sh
chmod -R a+rX,go-w /srv/catbreeds /opt/venv
