"""`wain identity`: how this server signs in for offline backup, and the workarounds of the seed's troubleshooting."""

import os
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from wain.base.errors import Refused
from wain.cli import directory, render
from wain.cli.config import Settings
from wain.cli.options import Json
from wain.cli.parts import now
from wain.cli.signing_in import ArmUrl, Asked, Authority, CaFile, GraphUrl, SigningIn, Tenant

if TYPE_CHECKING:
    from wain.agent.certificates import OwnCertificate
    from wain.agent.offline_identity import OfflineIdentity

app = typer.Typer(help="Signing in: people, roles, and this server's certificate.", no_args_is_help=True)
certificate_app = typer.Typer(help="This server's certificates for offline backup.", no_args_is_help=True)
application_app = typer.Typer(help="The application that the servers of one user share.", no_args_is_help=True)
thumbprint_app = typer.Typer(help="Which certificate this server uses, for each user.", no_args_is_help=True)
app.add_typer(directory.user_app, name="user")
app.add_typer(directory.role_app, name="role")
app.add_typer(directory.key_app, name="key")
app.add_typer(certificate_app, name="certificate")
app.add_typer(application_app, name="application")
app.add_typer(thumbprint_app, name="thumbprint")

User = Annotated[str, typer.Option("--user", metavar="ID", help="The user's id. Default: who signed in last.")]
Thumbprint = Annotated[str, typer.Argument(metavar="[THUMBPRINT]", help="Which certificate. Default: the one in use.")]
_CER_CAP: Final = 64 * 1024


@app.command()
def setup(
    context: typer.Context,
    subscription: Annotated[
        str, typer.Option(metavar="ID", help="The orders' subscription: you must be its Owner.")
    ] = "",
    authority: Authority = "",
    tenant: Tenant = "",
    graph: GraphUrl = "",
    arm: ArmUrl = "",
    ca_file: CaFile = "",
    json: Json = False,
) -> None:
    """Sign in, and give this server its certificate on the application AzureOfflineBackup_<your id>.

    Other servers' certificates stay as they are. Done twice, it changes nothing. Signed in as somebody else, this
    server gets a place on that account's application.
    """
    standing = _signing(context, Asked(authority, tenant, graph, arm, ca_file)).ensure(subscription)
    facts = {
        "user": standing.person.object_id,
        "name": standing.person.name,
        "application": standing.application.display_name,
        "applicationId": standing.application.app_id,
        "certificate": standing.certificate.name,
        "thumbprint": standing.certificate.thumbprint,
        "expires": render.json_moment(standing.certificate.ends_at) or "",
        "publicKeys": str(len(standing.application.keys)),
    }
    _show(facts, json)


@app.command()
def show(context: typer.Context, json: Json = False) -> None:
    """Show how this server signs in. Asks nobody."""
    signing = _signing(context)
    record, user = signing.offline().record(), signing.user()
    binding = record.bindings.get(user)
    certificate = signing.offline().certificates.find(binding.thumbprint) if binding and binding.thumbprint else None
    services = signing.services()
    facts = {
        "user": user,
        "application": f"AzureOfflineBackup_{user}",
        "certificate": certificate.name if certificate else "",
        "thumbprint": certificate.thumbprint if certificate else "",
        "expires": (render.json_moment(certificate.ends_at) or "") if certificate else "",
        "authority": services.authority,
        "tenant": services.tenant,
        "graph": services.graph,
    }
    _show(facts, json)


@app.command()
def whoami(
    context: typer.Context,
    user: Annotated[str, typer.Option("--user", metavar="NAME", help="Somebody else, by user name.")] = "",
    authority: Authority = "",
    tenant: Tenant = "",
    graph: GraphUrl = "",
    ca_file: CaFile = "",
    json: Json = False,
) -> None:
    """Sign in and show the user id: yours, or that of a user name."""
    service = _signing(context, Asked(authority, tenant, graph, "", ca_file)).graph()
    person = service.person(user) if user else service.me()
    _show({"user": person.object_id, "name": person.name}, json)


@certificate_app.command("list")
def list_certificates(context: typer.Context, json: Json = False) -> None:
    """List this server's certificates. Their private keys stay where they are."""
    offline = _signing(context).offline()
    used = {binding.thumbprint for binding in offline.record().bindings.values()}
    rows = [
        (each.name, each.thumbprint, _state(each, now()), "yes" if each.thumbprint in used else "no", each.ends_at)
        for each in offline.certificates.all()
    ]
    if json:
        names = ("name", "thumbprint", "state", "inUse")
        render.emit_json(
            [dict(zip(names, row[:4], strict=True)) | {"expires": render.json_moment(row[4])} for row in rows]
        )
        return
    shown = [(*row[:4], render.moment(row[4])) for row in rows]
    render.table(("certificate", "thumbprint", "state", "in use", "expires"), shown)


@certificate_app.command("export")
def export_certificate(
    context: typer.Context,
    to: Annotated[str, typer.Option("--to", metavar="FILE", help="Write here (.cer, DER); never overwritten.")],
    thumbprint: Thumbprint = "",
) -> None:
    """Write a certificate without its private key, for `upload` or a portal."""
    from wain.storage.new_file import write_new

    found = _certificate(_signing(context), thumbprint)
    if not write_new(to, found.der, 0o644):
        raise Refused(f"{to} exists already and is never overwritten", "Give another file with --to.")
    render.say(f"{found.name} is in {to}, without its private key. Thumbprint: {found.thumbprint}")


@certificate_app.command("upload")
def upload_certificate(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A certificate (.cer in DER, or PEM).")],
    user: User = "",
    authority: Authority = "",
    tenant: Tenant = "",
    graph: GraphUrl = "",
    ca_file: CaFile = "",
    json: Json = False,
) -> None:
    """Sign in and add an exported certificate to the application, beside the keys that are there."""
    from wain.agent.certificates import read_public, thumbprint_of
    from wain.agent.offline_identity import NAME

    der = read_public(_small_file(file))
    signing = _signing(context, Asked(authority, tenant, graph, "", ca_file))
    service = signing.graph()
    owner = user or service.me().object_id
    found = service.applications(NAME + owner)
    if not found:
        raise Refused(f"there is no application {NAME}{owner}", "Make it with `wain identity setup`.")
    application = signing.offline().add(service, found[0].object_id, der, os.path.basename(file))
    facts = {
        "application": application.display_name,
        "thumbprint": thumbprint_of(der),
        "publicKeys": str(len(application.keys)),
    }
    _show(facts, json)


@certificate_app.command("rotate")
def rotate_certificate(
    context: typer.Context,
    if_due: Annotated[bool, typer.Option(help="Only when fewer than 60 days are left.")] = False,
) -> None:
    """Replace this server's certificate by a new one. Nobody has to sign in: the old one is the proof."""
    signing = _signing(context)
    user = signing.user()
    old = _certificate(signing, "")
    if if_due and not old.is_due(now()):
        render.say(f"{old.name} is good until {render.moment(old.ends_at)}.")
        return
    new = signing.offline().renew(user, signing.server(user))
    render.say(f"{new.name} has replaced {old.name}. Thumbprint: {new.thumbprint}")


@certificate_app.command("revoke")
def revoke_certificate(context: typer.Context) -> None:
    """Take this server's certificate off the application and forget its key. Other servers go on."""
    signing = _signing(context)
    user = signing.user()
    gone = signing.offline().revoke(user, signing.server(user))
    render.say(f"{gone.name} is revoked; `wain identity setup` makes another.")


@application_app.command("show")
def show_application(
    context: typer.Context,
    user: User = "",
    authority: Authority = "",
    tenant: Tenant = "",
    graph: GraphUrl = "",
    ca_file: CaFile = "",
    json: Json = False,
) -> None:
    """Sign in and list the public keys on the application: which of them are this server's."""
    from wain.agent.offline_identity import NAME

    signing = _signing(context, Asked(authority, tenant, graph, "", ca_file))
    service = signing.graph()
    found = service.applications(NAME + (user or service.me().object_id))
    if not found:
        raise Refused("there is no such application", "Make it with `wain identity setup`.")
    application = service.application(found[0].object_id)
    own = {each.thumbprint for each in signing.offline().certificates.all()}
    rows = [
        (str(key.raw.get("displayName") or ""), key.thumbprint, "this server" if key.thumbprint in own else "other")
        for key in application.keys
    ]
    if json:
        keys = [{"name": name, "thumbprint": thumbprint, "server": whose} for name, thumbprint, whose in rows]
        render.emit_json({"application": application.display_name, "id": application.app_id, "publicKeys": keys})
        return
    render.say(application.display_name)
    render.table(("public key", "thumbprint", "of"), rows)


@application_app.command("delete")
def delete_application(
    context: typer.Context,
    user: User = "",
    authority: Authority = "",
    tenant: Tenant = "",
    graph: GraphUrl = "",
    ca_file: CaFile = "",
) -> None:
    """Sign in and delete the application; refused while another server's public key is on it."""
    signing = _signing(context, Asked(authority, tenant, graph, "", ca_file))
    service = signing.graph()
    gone = signing.offline().delete_application(service, user or service.me().object_id)
    render.say(f"{gone.display_name} is deleted. `wain identity setup` makes it anew.")


@thumbprint_app.command("set")
def set_thumbprint(
    context: typer.Context,
    thumbprint: Annotated[str, typer.Argument(metavar="THUMBPRINT", help="As `certificate list` shows it.")],
    user: User = "",
) -> None:
    """Set AzureADAppCertThumbprint_<user id>: use this certificate, whose public part was uploaded by hand."""
    signing = _signing(context)
    owner = (user or signing.user()).lower()
    found = signing.offline().set_thumbprint(owner, thumbprint)
    render.say(f"AzureADAppCertThumbprint_{owner} = {found.thumbprint} ({found.name})")


@thumbprint_app.command("show")
def show_thumbprints(context: typer.Context, json: Json = False) -> None:
    """Show AzureADAppCertThumbprint_<user id> for each user."""
    bindings = _signing(context).offline().record().bindings
    facts = {f"AzureADAppCertThumbprint_{user}": binding.thumbprint for user, binding in sorted(bindings.items())}
    _show(facts, json)


def _signing(context: typer.Context, asked: Asked | None = None) -> SigningIn:
    settings = context.obj
    assert isinstance(settings, Settings)
    return SigningIn(settings, asked)


def _certificate(signing: SigningIn, thumbprint: str) -> "OwnCertificate":
    """Return the certificate of a thumbprint, or the one in use, or the only one."""
    offline = signing.offline()
    binding = offline.record().bindings.get(offline.record().current_user)
    wanted = thumbprint or (binding.thumbprint if binding else "")
    found = offline.certificates.find(wanted) if wanted else _newest(offline)
    if found is None:
        raise Refused("this server has no such certificate", "See `wain identity certificate list`.")
    return found


def _newest(offline: "OfflineIdentity") -> "OwnCertificate | None":
    found = offline.certificates.all()
    return found[-1] if found else None


def _state(certificate: "OwnCertificate", at: datetime) -> str:
    if not certificate.is_valid(at):
        return "expired"
    return "due" if certificate.is_due(at) else "good"


def _small_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_CER_CAP + 1)
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}", "Check the path.") from error


def _show(facts: dict[str, str], as_json: bool) -> None:
    if as_json:
        render.emit_json(facts)
    else:
        render.facts(list(facts.items()))
